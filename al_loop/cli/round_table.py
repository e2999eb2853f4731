"""The summary of a round, and the progress of a campaign, on the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from al_loop.records import ErrorFigures, RoundReport, VerdictKind
from al_loop.report.round_json import from_dict


def print_round(report: RoundReport, console: Console) -> None:
    """Print one round."""
    console.print(round_panel(report))


def round_panel(report: RoundReport) -> RenderableType:
    """Return the summary of a round as one renderable."""
    parts: list[RenderableType] = [_facts(report), *_criteria(report), _verdicts(report), *_checks(report)]
    if report.held_out is not None or report.never_trained:
        parts.append(_errors(report))
    parts += _conditions(report)
    if report.quarantined:
        parts.append(quarantine_table(report.quarantined))
    parts.append(_seconds(report))
    return Panel(Group(*parts), title=f"round {report.round}", title_align="left", expand=False)


def _facts(report: RoundReport) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("frames explored", str(report.frames))
    table.add_row(
        "labels",
        f"{report.labels} to train on, {report.labels_held_out} held out, {_failed(report.labels_failed)}",
    )
    if report.time_to_suspect is not None:
        table.add_row("first suspect", f"after {report.time_to_suspect}")
    table.add_row("coverage", _coverage(report))
    guarantee = report.guarantee.get("text")
    if guarantee:
        table.add_row("guarantee", escape(str(guarantee)))
    if report.adaptation:
        table.add_row("adaptation", escape(report.adaptation["sentence"]))
    table.add_row("promoted", escape(f"{'yes' if report.promoted else 'no'}: {report.promotion_reason}"))
    return table


def _criteria(report: RoundReport) -> list[Table]:
    """The promotion criteria of the candidate model; empty if no candidate was trained."""
    if not report.criteria:
        return []
    table = _table("promotion criteria")
    for heading in ("criterion", "", "measured"):
        table.add_column(heading)
    for criterion in report.criteria:
        held = "holds" if criterion["passed"] else "[red]fails[/red]"
        table.add_row(escape(criterion["name"]), held, escape(criterion["sentence"]))
    return [table]


def _failed(count: int) -> str:
    return f"[red]{count} quarantined[/red]" if count else "none quarantined"


def _coverage(report: RoundReport) -> str:
    if report.coverage is None:
        return "not enough labels yet"
    return f"{report.coverage:.0%} of {report.coverage_frames} held-out frames within the calibrated bound"


def _verdicts(report: RoundReport) -> Table:
    kinds = [kind.value for kind in VerdictKind]
    table = _table("verdicts, by the check that decided")
    table.add_column("check")
    for kind in kinds:
        table.add_column(kind, justify="right")
    for check, counts in sorted(report.verdicts_by_check.items()):
        name = "no objection" if check == "none" else check.replace("_", " ")
        table.add_row(name, *(str(counts.get(kind, 0)) for kind in kinds))
    table.add_section()
    table.add_row("all", *(str(report.verdicts.get(kind, 0)) for kind in kinds))
    return table


def _checks(report: RoundReport) -> list[Table]:
    """Verdicts of each check on its own, also on frames that another check decided."""
    if not report.checks:
        return []
    kinds = [kind.value for kind in VerdictKind]
    table = _table("each check on its own")
    table.add_column("check")
    for kind in kinds:
        table.add_column(kind, justify="right")
    for check, counts in report.checks.items():
        table.add_row(check.replace("_", " "), *(str(counts.get(kind, 0)) for kind in kinds))
    return [table]


def _errors(report: RoundReport) -> Table:
    table = _table("mean absolute error against DFT, frames never trained on")
    table.add_column("frames")
    for heading in ("", "foundation", "served", "better"):
        table.add_column(heading, justify="left" if not heading else "right")
    if report.held_out is not None:
        _add_figures(table, "held out", report.held_out)
    for name, figures in sorted(report.never_trained.items()):
        _add_figures(table, escape(name), figures)
    return table


def _conditions(report: RoundReport) -> list[Table]:
    """Calibration frames, and trusted and exceeding test frames, of each condition; empty before a calibration."""
    by_condition = report.guarantee.get("by_condition")
    if not by_condition:
        return []
    table = _table("test frames by condition, and the upper bound of the share that exceeds among trusted ones")
    table.add_column("condition")
    for heading in ("calibration", "test", "trusted", "exceeding", "bound"):
        table.add_column(heading, justify="right")
    for condition, counts in by_condition.items():
        numbers = [counts[key] for key in ("calibration_frames", "frames", "trusted", "exceeding")]
        table.add_row(escape(condition), *map(str, numbers), f"{counts['upper_bound']:.0%}")
    return [table]


def _add_figures(table: Table, name: str, figures: ErrorFigures) -> None:
    for quantity, digits, foundation, served in (
        ("forces, eV/Å", 4, figures.force_mae_foundation, figures.force_mae_served),
        ("energy, eV/atom", 5, figures.energy_mae_foundation, figures.energy_mae_served),
    ):
        label = f"{name} ({figures.frames})" if quantity.startswith("forces") else ""
        table.add_row(label, quantity, f"{foundation:.{digits}f}", f"{served:.{digits}f}", _gain(foundation, served))


def _gain(foundation: float, served: float) -> str:
    return f"{foundation / served:.1f}x" if served > 0 and foundation > 0 else ""


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)


def quarantine_table(frames: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of frames without a label, as ``stages.label.quarantine.quarantined_as_dict`` describes them."""
    table = _table("quarantined: no label to train on")
    for heading in ("frame", "failure", "tries", "reason"):
        table.add_column(heading, justify="right" if heading == "tries" else "left")
    for frame in frames:
        name = f"{frame['frame'][:12]} ({frame['system']})"
        table.add_row(*(escape(text) for text in (name, frame["failure"], str(frame["tries"]), frame["reason"])))
    return table


def _seconds(report: RoundReport) -> Table:
    table = Table.grid(padding=(0, 2))
    stages = "  ".join(f"{stage} {seconds:.1f}" for stage, seconds in report.seconds.items())
    table.add_row("seconds", f"{stages}  (all {sum(report.seconds.values()):.1f})")
    return table


def print_status(status: dict[str, Any], console: Console | None = None) -> None:
    """Print the result of ``campaign_status`` as tables."""
    console = console or Console()
    for report in status["rounds"]:
        print_round(from_dict(report), console)
    done, planned = len(status["rounds"]), status["rounds_asked_for"]
    console.print(f"campaign {status['campaign']}: {status['state']}, {done} of {planned} rounds done", highlight=False)
    if status["stopped_early"]:
        console.print(f"stopped early: {status['stopped_early']}", highlight=False, markup=False)
    guarantee = status["rounds"][-1]["guarantee"] if status["rounds"] else {}
    if guarantee.get("no_frame_trusted"):
        console.print(f"the served model: {guarantee['text']}", style="red", highlight=False, markup=False)
    open_round = status["in_progress"]
    if open_round is not None:
        stages = ", ".join(open_round["stages_done"])
        console.print(f"round {open_round['round']} is open; finished stages: {stages}", highlight=False)
        if open_round["quarantined"]:
            console.print(quarantine_table(open_round["quarantined"]))
    for unfinished in status["unfinished_imports"]:
        console.print(unfinished["message"], highlight=False, markup=False)
    console.print(f"folder {status['folder']}", highlight=False, markup=False, soft_wrap=True)
