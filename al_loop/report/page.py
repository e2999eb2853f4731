"""REPORT: one self-contained HTML file on a campaign, from plain data."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from al_loop.ledger import EventRecord, Ledger
from al_loop.masking import masked
from al_loop.promote.stopping import STOPPED
from al_loop.quarantine import failure_kind, tries
from al_loop.records import LabelledFrame, Role, RoundReport
from al_loop.report.round_json import finished_rounds
from al_loop.report.style import LANES, data_uri
from al_loop.report.tables import coverage_interval, figures_of, threshold_of, totals_of
from al_loop.versions import installed_versions

REPORT_NAME = "report.html"


@dataclass(frozen=True)
class ReportData:
    """Everything a report shows.

    Attributes:
        config: the campaign's config as plain data.
        rounds: finished rounds in order.
        evaluations: arrays over the held-out frames by round (``al_loop.evaluate.errors.Evaluation.arrays``).
        failures: frames whose calculation gave no label, with the reason in their label's message.
        events: in order of time.
    """

    config: dict[str, Any]
    rounds: list[RoundReport]
    evaluations: dict[int, dict[str, Any]] = field(default_factory=dict)
    failures: list[LabelledFrame] = field(default_factory=list)
    events: list[EventRecord] = field(default_factory=list)


def gather(ledger: Ledger) -> ReportData:
    """Read everything a report shows."""
    ended = ledger.labelled(tuple(Role), converged_only=False)
    rounds = finished_rounds(ledger)
    return ReportData(
        config=ledger.campaign_config() or {},
        rounds=rounds,
        evaluations=_latest_evaluation(ledger, rounds),
        failures=[frame for frame in ended if not frame.converged],
        events=list(ledger.events()),
    )


def _latest_evaluation(ledger: Ledger, rounds: Sequence[RoundReport]) -> dict[int, dict[str, Any]]:
    """Arrays of the last round that has any: a round without held-out labels has none."""
    for report in reversed(rounds):
        arrays = ledger.get_arrays(f"evaluation/{report.round}")
        if arrays:
            return {report.round: arrays}
    return {}


def write_report(data: ReportData, folder: Path) -> Path:
    """Write ``report.html`` into an existing folder and return its path; an older report is replaced in one step."""
    path = folder / REPORT_NAME
    draft = folder / f".{REPORT_NAME}.{os.getpid()}"
    draft.write_text(render_report(data), encoding="utf-8")
    draft.replace(path)
    return path


def _stopped(data: ReportData) -> str:
    """Which criterion ended the campaign after its last finished round; empty if it went on."""
    last = data.rounds[-1].round if data.rounds else None
    return next((e.message for e in reversed(data.events) if e.kind == STOPPED and e.round == last), "")


def render_report(data: ReportData) -> str:
    """Return the report as HTML without references to anything outside of it."""
    environment = Environment(
        loader=PackageLoader("al_loop.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = data_uri
    config = masked(data.config)
    last = data.rounds[-1] if data.rounds else None
    return environment.get_template("report.html.j2").render(
        config=config,
        config_yaml=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        rounds=data.rounds,
        last=last,
        totals=totals_of(data.rounds),
        lanes={lane: name for lane, (name, _) in LANES.items()},
        figures=figures_of(data.config, data.rounds, data.evaluations),
        threshold=threshold_of(last),
        intervals={report.round: coverage_interval(report) for report in data.rounds},
        failures=data.failures,
        failure_kind=failure_kind,
        tries=tries,
        events=data.events,
        stopped=_stopped(data),
        versions=installed_versions(),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
