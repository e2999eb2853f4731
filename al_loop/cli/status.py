"""Progress of a campaign, and its report; the ledger is only read."""

from typing import TYPE_CHECKING, Any

from al_loop.report.round_json import from_dict

if TYPE_CHECKING:
    from rich.console import Console


def print_status(status: dict[str, Any], console: "Console | None" = None) -> None:
    """Print the result of ``campaign_status`` as tables."""
    from rich.console import Console

    from al_loop.cli.round_table import print_round, quarantine_table

    console = console or Console()
    for report in status["rounds"]:
        print_round(from_dict(report), console)
    done, planned = len(status["rounds"]), status["rounds_asked_for"]
    console.print(f"campaign {status['campaign']}: {status['state']}, {done} of {planned} rounds done", highlight=False)
    if status["stopped_early"]:
        console.print(f"stopped early: {status['stopped_early']}", highlight=False, markup=False)
    open_round = status["in_progress"]
    if open_round is not None:
        stages = ", ".join(open_round["stages_done"])
        console.print(f"round {open_round['round']} is open; finished stages: {stages}", highlight=False)
        if open_round["quarantined"]:
            console.print(quarantine_table(open_round["quarantined"]))
    for unfinished in status["unfinished_imports"]:
        console.print(unfinished["message"], highlight=False, markup=False)
    console.print(f"folder {status['folder']}", highlight=False, markup=False, soft_wrap=True)
