"""A round's report as plain JSON and back."""

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from al_loop.ledger import Ledger
from al_loop.records import ErrorFigures, RoundReport, TimeToSuspect
from al_loop.utils.foreign_input import reading

REPORT_STAGE = "report"  # the stage whose results are a round's report, written last
Progress = Mapping[int, Mapping[str, dict[str, Any] | None]]


def as_dict(report: RoundReport) -> dict[str, Any]:
    """Return the JSON of one round in ``al-loop status --json``.

    Besides the fields of RoundReport: ``force_mae_foundation`` and ``force_mae_served`` (eV/Å, held-out frames;
    None before they are labelled). Non-finite numbers become None.
    """
    errors = {
        name: getattr(report.held_out, name, None)
        for name in ("force_mae_foundation", "force_mae_served", "energy_mae_foundation", "energy_mae_served")
    }
    plain: dict[str, Any] = jsonable({**asdict(report), **errors})
    return plain


def from_dict(data: dict[str, Any]) -> RoundReport:
    """Rebuild a report from ``as_dict`` or ``dataclasses.asdict``; keys that are not its fields are ignored.

    Raises:
        InputError: a field without default is missing, or a value is of another kind.
    """
    with reading("a round's report", "the report in the ledger is damaged; restore the ledger from a backup"):
        known = {field.name: data[field.name] for field in fields(RoundReport) if field.name in data}
        time = known.get("time_to_suspect")
        return RoundReport(
            **{
                **known,
                "held_out": _figures(data.get("held_out")),
                "never_trained": {name: _figures(figures) for name, figures in data["never_trained"].items()},
                "time_to_suspect": TimeToSuspect(**time) if isinstance(time, dict) else time,
            }
        )


def finished_rounds(ledger: Ledger) -> list[RoundReport]:
    """Return the reports of finished rounds in order."""
    return reports_in(ledger.progress(REPORT_STAGE))


def reports_in(progress: Progress) -> list[RoundReport]:
    """Return the reports from the result of ``Ledger.progress`` for the stage ``report``."""
    reports = (stages.get(REPORT_STAGE) for stages in progress.values())
    return [from_dict(report) for report in reports if report is not None]


def open_round(progress: Progress) -> tuple[int, list[str]] | None:
    """Return the last round without a report, and its finished stages."""
    unfinished = [(round_, list(stages)) for round_, stages in progress.items() if REPORT_STAGE not in stages]
    return unfinished[-1] if unfinished else None


def _figures(data: dict[str, Any] | None) -> ErrorFigures | None:
    if data is None:
        return None
    frames = int(data["frames"])
    errors = {key: math.nan if value is None else float(value) for key, value in data.items() if key != "frames"}
    return ErrorFigures(frames=frames, **errors)


def jsonable(value: Any) -> Any:
    """Return ``value`` as valid JSON data: numpy numbers become Python's, non-finite numbers None."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
