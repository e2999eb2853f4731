"""The table of ``al-loop predict``."""

from rich.console import Console
from rich.table import Table

from al_loop.tools.single_steps.compare import FoundationComparison


def print_comparison(comparison: FoundationComparison, console: Console | None = None) -> None:
    """Print one line per foundation, the best first, and the recommended one."""
    console = console or Console()
    of_which = f" ({comparison.labels})" if comparison.labels.partial else ""
    console.print(
        f"{comparison.frames} frames{of_which}, {comparison.atoms} atoms; mean |force component|"
        f" {comparison.mean_force_eV_per_A:.3f} eV/Å",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("foundation", overflow="fold")
    for heading in (
        "forces\neV/Å",
        "energy\nmeV/atom",
        "stress\nmeV/Å³",
        "Spearman\nforces",
        "slope\nforces",
        "ms/atom",
    ):
        table.add_column(heading, justify="right")
    for score in comparison.scores:
        table.add_row(
            score.foundation,
            f"{score.force_mae_eV_per_A:.4f}",
            _number(score.energy_mae_eV_per_atom, 1000, 2),
            _number(score.stress_mae_eV_per_A3, 1000, 3),
            _number(score.force_spearman, 1, 3),
            _number(score.force_slope, 1, 3),
            _number(score.seconds_per_atom, 1000, 2),
        )
    console.print(table, highlight=False, markup=False)
    above = "after fitting one shift per element"
    if comparison.energies_above == "isolated atoms":
        above = "relative to isolated atoms, since there are too few frames to fit shifts"
    console.print(f"Mean absolute errors without training; energies {above}.", highlight=False)
    console.print(f"Start from {comparison.start_from}: {comparison.reason}.", highlight=False, markup=False)


def _number(value: float | None, scale: float, digits: int) -> str:
    return "-" if value is None else f"{value * scale:.{digits}f}"
