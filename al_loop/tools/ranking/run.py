"""``al-loop rank`` and ``al-loop barrier`` from Python, on files."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ase import Atoms

from al_loop.files.structures import read_structures
from al_loop.stages.label.direct import Labeller
from al_loop.tools.ranking.barrier import find_barrier
from al_loop.tools.ranking.barrier_results import Barrier
from al_loop.tools.ranking.dft_barrier import label_barrier
from al_loop.tools.ranking.dft_ranking import label_ranking
from al_loop.tools.ranking.inputs import RankingInputs
from al_loop.tools.ranking.output import write_path, write_ranking
from al_loop.tools.ranking.path_ends import end_notes, read_ends
from al_loop.tools.ranking.ranking import rank_candidates
from al_loop.tools.ranking.ranking_results import Ranking
from al_loop.tools.ranking.settings import BarrierOptions, RankOptions
from al_loop.utils.paths import check_target
from al_loop.utils.progress import Announce, show_nothing


def rank_file(
    candidates: Path,
    bench: RankingInputs,
    output: Path,
    options: RankOptions | None = None,
    *,
    dft_steps: int = 0,
    advance: Announce = show_nothing,
) -> Ranking:
    """Rank the structures of a file, label the selected ones if there is an engine, write the result.

    Args:
        candidates: a file that ASE opens.
        bench: model and engine.
        output: the result as extended XYZ; finished labels are kept in ``<name>-labels`` beside it.
        options: how to rank.
        dft_steps: of a relaxation with DFT from each structure that is sent.
        advance: called with a word on each part of the work.

    Raises:
        InputError: bad input; nothing was computed.
    """
    check_target("--output", output, [candidates])
    frames = read_structures(candidates)
    with ExitStack() as stack:
        labeller = _labeller(stack, bench, output, frames)
        ranking = rank_candidates(
            frames, bench.potential, options, physics=bench.physics, labelled=bench.labelled, advance=advance
        )
        write_ranking(output, ranking)  # before labels, which may take days
        if labeller is not None:
            advance(f"label {len(ranking.sent)} structures")
            ranking = label_ranking(ranking, labeller, dft_steps=dft_steps)
            ranking = replace(ranking, notes=(*ranking.notes, *_levels(bench, labeller)))
            write_ranking(output, ranking)
    return ranking


def barrier_of_files(
    initial: Path,
    final: Path,
    bench: RankingInputs,
    output: Path,
    options: BarrierOptions | None = None,
    *,
    advance: Announce = show_nothing,
) -> Barrier:
    """Find the barrier between the structures of two files, label the selected images, write the path.

    Args:
        initial: a file that ASE opens; its last structure is taken.
        final: another one.
        bench: model and engine.
        output: the path as extended XYZ; finished labels are kept in ``<name>-labels`` beside it.
        options: how to search.
        advance: called with a word on each part of the work.

    Raises:
        InputError: bad input; nothing was computed.
        GuardStop: there is no barrier to be found.
    """
    check_target("--output", output, [initial, final])
    ends = read_ends(initial, final)
    with ExitStack() as stack:
        labeller = _labeller(stack, bench, output, ends)
        barrier = find_barrier(
            *ends, bench.potential, options, physics=bench.physics, labelled=bench.labelled, advance=advance
        )
        write_path(output, barrier)
        if labeller is not None:
            advance(f"label {sum(image.sent for image in barrier.images)} images")
            barrier = label_barrier(barrier, labeller)
            barrier = replace(barrier, notes=(*barrier.notes, *_levels(bench, labeller)))
            write_path(output, barrier)
    return replace(barrier, notes=(*barrier.notes, *end_notes(initial, final)))


def _labeller(
    stack: ExitStack, bench: RankingInputs, output: Path, frames: list[Atoms] | tuple[Atoms, Atoms]
) -> Labeller | None:
    labeller = bench.labeller(output.with_name(f"{output.stem}-labels"))
    if labeller is not None:
        stack.enter_context(labeller)
        labeller.check_elements(frames)
    return labeller


def _levels(bench: RankingInputs, labeller: Labeller) -> list[str]:
    """Return a note if DFT here differs from the model's level of theory, which adds to their disagreement."""
    trained, here = bench.potential.provenance.level_of_theory, f"{labeller.level.code}: {labeller.level.summary}"
    if trained == here:
        return []
    return [f"the model was trained on labels of another level of theory ({trained}) than the engine's ({here})."]
