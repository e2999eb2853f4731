"""REPORT: one self-contained HTML file on a campaign, from plain data."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from al_loop.ledger import EventRecord, Ledger, ModelRecord
from al_loop.records import LabelledFrame, Role, RoundReport
from al_loop.report.figures import figures_of
from al_loop.report.round_json import REPORT_STAGE, finished_rounds, open_round
from al_loop.report.selected_frames import ChosenFrame, audit_errors, chosen_frames, for_viewer
from al_loop.report.style import CHECKS, data_uri
from al_loop.report.tables import (
    LabelCosts,
    PhysicsAlarm,
    calibration_of,
    coverage_interval,
    element_errors,
    label_costs,
    lineage,
    physics_alarms,
    threshold_of,
    totals_of,
)
from al_loop.report.validation import Table, validation_tables
from al_loop.stages.evaluate.stopping import STOPPED
from al_loop.stages.label.quarantine import failure_kind, tries
from al_loop.utils.redaction import masked
from al_loop.utils.versions import installed_versions
from committee.atomic_write import replacing_path

REPORT_NAME = "report.html"


@dataclass(frozen=True)
class ReportData:
    """Everything a report shows.

    Attributes:
        config: the campaign's config as plain data.
        rounds: finished rounds in order.
        evaluation: arrays over the held-out frames of the last round that has such labels
            (``al_loop.stages.evaluate.errors.HeldOutEvaluation.arrays``); empty without one.
        failures: frames whose calculation gave no label, with the reason in their label's message.
        events: in order of time.
        chosen: frames that were selected for labels.
        costs: cost of the labels, by round.
        models: all trained committees.
        alarms: failures of the physics check.
        validation: tables of a validation, if there was one.
        open_round: the unfinished round with its finished stages; empty without one.
    """

    config: dict[str, Any]
    rounds: list[RoundReport]
    evaluation: dict[str, Any] = field(default_factory=dict)
    failures: list[LabelledFrame] = field(default_factory=list)
    events: list[EventRecord] = field(default_factory=list)
    chosen: list[ChosenFrame] = field(default_factory=list)
    costs: list[LabelCosts] = field(default_factory=list)
    models: list[ModelRecord] = field(default_factory=list)
    alarms: list[PhysicsAlarm] = field(default_factory=list)
    validation: list[Table] = field(default_factory=list)
    open_round: str = ""


def gather(ledger: Ledger, folder: Path) -> ReportData:
    """Read everything a report shows, from the ledger and the campaign's folder."""
    ended = ledger.labelled(tuple(Role), converged_only=False)
    rounds = finished_rounds(ledger)
    return ReportData(
        config=ledger.campaign_config() or {},
        rounds=rounds,
        evaluation=_latest_evaluation(ledger, rounds),
        failures=[frame for frame in ended if not frame.converged],
        events=list(ledger.events()),
        chosen=chosen_frames(ledger, ended),
        costs=label_costs(ended),
        models=ledger.models(),
        alarms=physics_alarms(ledger),
        validation=validation_tables(folder),
        open_round=_open_round(ledger),
    )


def _open_round(ledger: Ledger) -> str:
    """A sentence on the unfinished round."""
    unfinished = open_round(ledger.progress(REPORT_STAGE))
    return f"round {unfinished[0]} is open; finished stages: {', '.join(unfinished[1])}" if unfinished else ""


def _latest_evaluation(ledger: Ledger, rounds: Sequence[RoundReport]) -> dict[str, Any]:
    """Arrays of the last round with held-out labels."""
    of_rounds = (ledger.get_arrays(f"evaluation/{report.round}") for report in reversed(rounds))
    return next((arrays for arrays in of_rounds if arrays), {})


def write_report(data: ReportData, folder: Path) -> Path:
    """Write ``report.html`` into an existing folder and return its path; an older report is replaced in one step."""
    path = folder / REPORT_NAME
    with replacing_path(path) as draft:
        draft.write_text(render_report(data), encoding="utf-8")
    return path


def _stopped(data: ReportData) -> str:
    """The criterion that ended the campaign after its last finished round; empty if none did."""
    last = data.rounds[-1].round if data.rounds else None
    return next((e.message for e in reversed(data.events) if e.kind == STOPPED and e.round == last), "")


def _no_probability(last: RoundReport | None) -> str:
    """Why the probability of an error above the tolerance is not drawn."""
    calibration = calibration_of(last)
    if calibration is None:
        return "No probability: no served model is calibrated yet."
    return f"No probability: {calibration.summary}."


def render_report(data: ReportData) -> str:
    """Return the report as self-contained HTML."""
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
    audit = audit_errors(data.chosen)
    derived = {
        "config": config,
        "config_yaml": yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        "last": last,
        "totals": totals_of(data.rounds),
        "checks": {check: name for check, (name, _) in CHECKS.items()},
        "figures": figures_of(data.config, data.rounds, data.evaluation, audit),
        "threshold": threshold_of(last),
        "calibration": calibration_of(last),
        "no_probability": _no_probability(last),
        "intervals": {report.round: coverage_interval(report) for report in data.rounds},
        "failure_kind": failure_kind,
        "tries": tries,
        "audit": audit,
        "elements": element_errors(data.evaluation),
        "chosen": Counter((frame.round, frame.reason) for frame in data.chosen),
        "viewer_frames": for_viewer(data.chosen),
        "models": lineage(data.models, data.rounds),
        "stopped": _stopped(data),
        "versions": installed_versions(),
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    return environment.get_template("report.html.j2").render({**vars(data), **derived})
