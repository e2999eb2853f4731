"""The tables of ``al-loop predict``, ``rank`` and ``barrier``."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from al_loop.tools.ranking.barrier_results import Barrier
from al_loop.tools.ranking.ranking_results import CandidateStatus, CompositionSummary, RankedCandidate, Ranking
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
            _number(score.energy_mae_eV_per_atom, 2, 1000),
            _number(score.stress_mae_eV_per_A3, 3, 1000),
            _number(score.force_spearman, 3),
            _number(score.force_slope, 3),
            _number(score.seconds_per_atom, 2, 1000),
        )
    console.print(table, highlight=False, markup=False)
    above = "after fitting one shift per element"
    if comparison.energies_above == "isolated atoms":
        above = "relative to isolated atoms, since there are too few frames to fit shifts"
    console.print(f"Mean absolute errors without training; energies {above}.", highlight=False)
    console.print(f"Start from {comparison.start_from}: {comparison.reason}.", highlight=False, markup=False)


def print_ranking(ranking: Ranking, console: Console | None = None) -> None:
    """Print one table per composition, the candidates that are not ranked, and notes."""
    console = console or Console()
    for composition in ranking.compositions:
        mine = [one for one in ranking.candidates if one.composition == composition.name]
        _print_composition(console, composition, [one for one in mine if one.rank is not None], ranking)
    apart = [one for one in ranking.candidates if one.status is not CandidateStatus.RANKED]
    if apart:
        _say(console, "\nNot ranked reliably:")
        for one in apart:
            rank = "" if one.rank is None else f", rank {one.rank} is a guess"
            why = one.reason if one.rank is None else one.gated.verdict.reason
            _say(console, f"  candidate {one.candidate} ({one.composition}): {one.status.value}{rank}: {why}")
    for note in ranking.notes:
        _say(console, f"- {note}")


def print_barrier(barrier: Barrier, console: Console | None = None) -> None:
    """Print the images as a table, the barrier as a sentence, and notes."""
    console = console or Console()
    table = Table(box=None, pad_edge=False)
    for heading in ("image", "path\nÅ", "committee\neV", "std\neV", "DFT\neV", "gate"):
        table.add_column(heading, justify="left" if heading == "gate" else "right")
    table.add_column("to DFT", overflow="fold")
    for image in barrier.images:
        table.add_row(
            f"{image.image}{'*' if image.image == barrier.saddle else ''}",
            f"{image.path_A:.2f}",
            f"{image.above_initial_eV:.3f}",
            f"{image.uncertainty_eV:.3f}",
            _number(image.dft_above_initial_eV),
            image.gated.verdict.kind.value,
            image.reason if image.sent else "",
        )
    console.print(table, highlight=False, markup=False)
    interval = 2 * barrier.options.confidence - 1
    trusted = "" if barrier.saddle_trusted else "; its saddle image is not trusted"
    _say(
        console,
        f"Barrier {barrier.forward_eV:.3f} ± {barrier.half_width_eV:.3f} eV ({interval:.0%}){trusted}. Reverse barrier "
        f"{barrier.reverse_eV:.3f} eV, reaction energy {barrier.reaction_eV:.3f} eV.",
    )
    if barrier.dft_forward_eV is not None:
        _say(console, f"DFT along the same path: barrier {barrier.dft_forward_eV:.3f} eV, image {barrier.dft_saddle}.")
    for note in barrier.notes:
        _say(console, f"- {note}")


def _print_composition(
    console: Console, composition: CompositionSummary, ranked: Sequence[RankedCandidate], ranking: Ranking
) -> None:
    kept = composition.probability_kept
    chance = "" if kept is None else f"; these contain the true best {ranking.options.top} with {kept:.0%} probability"
    _say(
        console,
        f"\n{composition.name}: {composition.candidates} candidates, {composition.ranked} ranked, {composition.sent} "
        f"to DFT{chance}",
    )
    if not ranked:
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("rank", "candidate", "above best\neV", "std\neV", f"P(best {ranking.options.top})", "gate"):
        table.add_column(heading, justify="right")
    table.add_column("DFT\nrank", justify="right")
    table.add_column("DFT\neV", justify="right")
    table.add_column("to DFT", overflow="fold")
    for one in ranked:
        table.add_row(
            str(one.rank),
            str(one.candidate),
            _number(one.above_best_eV),
            _number(one.uncertainty_eV),
            f"{one.probability_top or 0.0:.2f}",
            one.gated.verdict.kind.value,
            "" if one.dft_rank is None else str(one.dft_rank),
            _number(one.dft_above_best_eV) if one.labels else "",
            one.reason if one.sent else "",
        )
    console.print(table, highlight=False, markup=False)


def _number(value: float | None, digits: int = 3, scale: float = 1.0) -> str:
    return "-" if value is None else f"{value * scale:.{digits}f}"


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False)
