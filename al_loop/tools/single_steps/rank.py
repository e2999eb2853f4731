"""Rank candidates: ``al_loop.rank`` and ``al-loop rank``."""

from dataclasses import replace
from pathlib import Path

from al_loop.errors import InputError
from al_loop.files.structures import read_structures
from al_loop.tools.open_model import FoundationArgument
from al_loop.tools.ranking.dft_labels import label_ranking
from al_loop.tools.ranking.inputs import open_ranking_inputs
from al_loop.tools.ranking.output import write_ranking
from al_loop.tools.ranking.ranking import rank_candidates
from al_loop.tools.ranking.ranking_results import Ranking
from al_loop.tools.ranking.settings import Optimizer, RankOptions, RelaxOptions
from al_loop.tools.single_steps.arguments import CampaignArgument, campaign_config
from al_loop.utils.paths import check_source, check_target
from al_loop.utils.progress import Announce, Notify, log_note, show_nothing


def rank(
    candidates: str | Path,
    model: str | Path | None = None,
    *,
    config: CampaignArgument | None = None,
    foundation: FoundationArgument | None = None,
    relax: bool = False,
    cell: bool = False,
    optimizer: Optimizer = "fire",
    force_tolerance_eV_per_A: float = 0.03,
    steps: int = 300,
    top: int = 3,
    confidence: float = 0.9,
    labelled: str | Path | None = None,
    dft_steps: int = 0,
    output: str | Path | None = None,
    advance: Announce = show_nothing,
    notify: Notify = log_note,
) -> Ranking:
    """Rank candidates by the committee; with ``config`` the best, and what it cannot tell from them, go to DFT.

    Args:
        candidates: a file of structures that ASE reads.
        model: folder of a committee's checkpoint; by default what the campaign of ``config`` serves.
        config: a campaign, whose engine labels what is sent and whose held-out labels calibrate energy differences.
        foundation: the foundation under the checkpoint; by default that of ``config``, or by name.
        relax: relax each candidate with the committee first.
        cell: relax the cells as well (implies ``relax``).
        optimizer: of the relaxation.
        force_tolerance_eV_per_A: largest force that the relaxation leaves.
        steps: of the relaxation at most.
        top: how many of each composition are wanted.
        confidence: one-sided: when a candidate counts as worse than another.
        labelled: labelled frames that the model has not seen, to calibrate energy differences.
        dft_steps: steps of a relaxation with DFT of what is sent; needs ``config``.
        output: the result as extended XYZ; by default ``<candidates>-ranked.extxyz``. Finished labels are kept in
            ``<output>-labels``.
        advance: called with a word on each part of the work.
        notify: called with each sentence on what was merged, set apart or left out of ``labelled``.

    Returns:
        Every candidate in order, with energies in eV per compared unit.

    Raises:
        InputError: bad input; nothing was computed.
        FoundationError: a foundation that cannot be loaded.

    Examples:
        >>> from al_loop import rank
        >>> ranking = rank("structures.extxyz", "model", foundation="fairchem:distilled.pt:omat", top=1)
        >>> best = ranking.candidates[0]
        >>> best.rank, best.sent, best.above_best_eV, len(ranking.candidates)
        (1, True, 0.0, 3)
    """
    if dft_steps < 0 or (dft_steps > 0 and config is None):
        raise InputError(f"--dft-steps: received {dft_steps}, expected a number above 0 and --config with an engine")
    relaxing = RelaxOptions(force_tolerance_eV_per_A, steps, cell, optimizer) if relax or cell else None
    options = RankOptions(top=top, confidence=confidence, relax=relaxing)
    file = Path(candidates)
    check_source(f"CANDIDATES {file}", file, "name a file with candidate structures")
    result = ranked_file(file, output)
    check_target("--output", result, [file])
    frames = read_structures(file)  # refused before a model is loaded
    opened = open_ranking_inputs(model, campaign_config(config), foundation, labelled, notify)
    with opened.labeller(result, frames) as labeller:
        ranking = rank_candidates(
            frames, opened.potential, options, physics=opened.physics, labelled=opened.labelled, advance=advance
        )
        write_ranking(result, ranking)  # before labels, which may take days
        if labeller is not None:
            advance(f"label {len(ranking.sent)} structures")
            ranking = label_ranking(ranking, labeller, dft_steps=dft_steps)
            ranking = replace(ranking, notes=(*ranking.notes, *opened.level_notes(labeller)))
            write_ranking(result, ranking)
    return ranking


def ranked_file(candidates: Path, output: str | Path | None) -> Path:
    """Where the result goes: beside the candidates if nothing else is said."""
    return candidates.with_name(f"{candidates.stem}-ranked.extxyz") if output is None else Path(output)
