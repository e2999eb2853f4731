"""Rank candidates by committee energy, and select for DFT the best and those within the uncertainty."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms

from al_loop.config import PhysicsSettings
from al_loop.errors import InputError
from al_loop.frames.constraints.policy import Motion, check_followed
from al_loop.gate.gate import GatedPrediction
from al_loop.records import GateCheck, VerdictKind
from al_loop.tools.ranking.grouping import Composition, grouped, same_structure, surroundings
from al_loop.tools.ranking.path import check_known
from al_loop.tools.ranking.ranking_results import CandidateStatus, CompositionSummary, RankedCandidate, Ranking
from al_loop.tools.ranking.relax import Relaxation, check_trained, gated_predictions, relaxed
from al_loop.tools.ranking.settings import RankOptions, RelaxOptions
from al_loop.tools.ranking.statistics import Energies, EnergyScale, calibration_notes, energy_scale, rank_statistics
from al_loop.utils.progress import Announce, show_nothing
from committee.potential import CommitteePotential

SAME_ENERGY_EV_PER_ATOM = 0.002  # structures further apart are not compared
COMPARABLE = (CandidateStatus.RANKED, CandidateStatus.UNTRUSTED)


def rank_candidates(
    frames: Sequence[Atoms],
    potential: CommitteePotential,
    options: RankOptions | None = None,
    *,
    physics: PhysicsSettings | None = None,
    labelled: Sequence[tuple[Atoms, float]] = (),
    advance: Announce = show_nothing,
) -> Ranking:
    """Rank candidates within each composition.

    Args:
        frames: the candidates; not modified.
        potential: the committee.
        options: how.
        physics: limits of the physics check.
        labelled: held-out frames with their energies, eV, which calibrate the ensemble standard deviation.
        advance: called with the name of each candidate that is relaxed.

    Raises:
        InputError: no candidates, elements the model does not know, a cell to relax that is not periodic in three
            directions, constraints that a relaxation cannot follow, or a committee without any spread.
    """
    options, physics = options or RankOptions(), physics or PhysicsSettings()
    _check(frames, potential, options)
    relaxations = _relaxed(frames, potential, options.relax, physics, advance)
    ends = [atoms if end is None else end.atoms for atoms, end in zip(frames, relaxations, strict=True)]
    gated = gated_predictions(ends, frames, potential, physics)
    sound = [one.prediction for one in gated if one.sound and one.prediction is not None]
    scale = energy_scale(potential, labelled, sound, options.confidence, np.random.default_rng([options.seed, 1]))
    candidates: list[RankedCandidate] = []
    summaries = []
    for composition in grouped(frames):
        placed = [_placed(i, ends[i], composition, gated[i], relaxations[i]) for i in composition.members]
        ranked, kept = _ranked(merged(placed, options.same_A), scale, options)
        candidates += ranked
        summaries.append(_summary(composition, ranked, kept))
    notes = _notes(candidates, summaries, potential, scale, options.top)
    return Ranking(tuple(candidates), tuple(summaries), options, scale, notes)


def comparable_energies(candidates: Sequence[RankedCandidate], scale: float, resolution_eV: float) -> Energies:
    """Energies of candidates of one composition, all with a prediction, eV per compared unit; see ``Energies``."""
    predictions = [(one.gated.prediction, one.units) for one in candidates]
    mean = np.array([p.energy / units for p, units in predictions if p is not None])
    deviations = np.stack([(p.energy_ensemble - p.energy) / units for p, units in predictions if p is not None])
    return Energies(mean, deviations, scale, resolution_eV)


def _check(frames: Sequence[Atoms], potential: CommitteePotential, options: RankOptions) -> None:
    if not frames:
        raise InputError("received no candidates; give at least one structure")
    check_trained(potential)
    check_known(frames, potential.backbone.elements, f"the model ({potential.backbone.name})")
    if options.relax is None:
        return
    motion, remedy = (Motion.CELL, "leave out --cell") if options.relax.cell else (Motion.COMPARISON, "")
    for index, atoms in enumerate(frames):
        check_followed(atoms, motion, f"candidate {index}, {atoms.symbols.get_chemical_formula()},", remedy)
    if not options.relax.cell:
        return
    open_ones = [index for index, atoms in enumerate(frames) if not atoms.pbc.all()]
    if open_ones:
        raise InputError(
            f"--cell: candidate {open_ones[0]} is not periodic in three directions, so that it has no stress; relax "
            "the positions alone"
        )


def _relaxed(
    frames: Sequence[Atoms],
    potential: CommitteePotential,
    options: RelaxOptions | None,
    physics: PhysicsSettings,
    advance: Announce,
) -> list[Relaxation | None]:
    if options is None:
        return [None] * len(frames)
    ends: list[Relaxation | None] = []
    for index, atoms in enumerate(frames):
        advance(f"relax {index} {atoms.symbols.get_chemical_formula()}")
        ends.append(relaxed(atoms, potential, options, physics))
    return ends


def _placed(
    index: int, atoms: Atoms, composition: Composition, gated: GatedPrediction, relaxation: Relaxation | None
) -> RankedCandidate:
    """Return the status of a candidate, and the reason if it has no rank."""
    verdict = gated.verdict
    if relaxation is not None and relaxation.broken:
        status, reason = CandidateStatus.UNPHYSICAL, f"its relaxation failed: {relaxation.broken}"
    elif not gated.sound or verdict.kind is VerdictKind.DISCARD:
        status, reason = CandidateStatus.UNPHYSICAL, verdict.reason
    elif relaxation is not None and not relaxation.converged:
        left = f"{relaxation.max_force_eV_per_A:.3f} eV/Å left after {relaxation.steps} steps"
        status, reason = CandidateStatus.UNRELAXED, f"{left}; give it more (--steps) or look at it"
    else:
        trusted = gated.trusted or verdict.check is GateCheck.UNCALIBRATED
        status, reason = CandidateStatus.RANKED if trusted else CandidateStatus.UNTRUSTED, ""
    return RankedCandidate(index, atoms, composition.name, composition.units(atoms), status, reason, gated, relaxation)


def _ranked(
    placed: Sequence[RankedCandidate], scale: EnergyScale, options: RankOptions
) -> tuple[list[RankedCandidate], float | None]:
    """Assign ranks, probabilities and reasons, and the probability that the true best N are all selected."""
    comparable = [one for one in placed if one.status in COMPARABLE]
    others = [one for one in placed if one.status not in COMPARABLE]
    if not comparable:
        return others, None
    energies = comparable_energies(comparable, scale.value, options.resolution_eV)
    found = rank_statistics(energies, options.top, options.confidence, np.random.default_rng([options.seed, 0]))
    best = int(found.order[0])
    ranked = []
    for rank, i in enumerate(map(int, found.order), start=1):
        close = found.inseparable_from.get(i)
        reasons = [f"among the best {options.top}"] if rank <= options.top else []
        if close is not None:
            gap = energies.mean[i] - energies.mean[close]
            reasons.append(
                f"not distinguishable from candidate {comparable[close].candidate}: {gap:+.3f} ± "
                f"{energies.difference_std(close, i):.3f} eV"
            )
        ranked.append(
            replace(
                comparable[i],
                rank=rank,
                above_best_eV=float(energies.mean[i] - energies.mean[best]),
                uncertainty_eV=energies.difference_std(best, i),
                probability_top=float(found.probability_top[i]),
                sent=bool(reasons),
                reason="; ".join(reasons),
            )
        )
    return [*ranked, *others], found.probability_kept


def merged(placed: Sequence[RankedCandidate], same_A: float) -> list[RankedCandidate]:
    """Mark candidates of one composition that are the same structure as one of lower energy within ``same_A``."""
    comparable = sorted((one for one in placed if one.status in COMPARABLE), key=_energy_per_atom)
    kept: list[RankedCandidate] = []
    same: dict[int, int] = {}
    seen = {one.candidate: surroundings(one.atoms) for one in comparable}
    for one in comparable:
        near = [k for k in kept if _energy_per_atom(one) - _energy_per_atom(k) <= SAME_ENERGY_EV_PER_ATOM]
        twin = next((k for k in near if same_structure(seen[k.candidate], seen[one.candidate], same_A)), None)
        if twin is None:
            kept.append(one)
        else:
            same[one.candidate] = twin.candidate
    return [
        replace(
            one,
            status=CandidateStatus.DUPLICATE,
            same_as=same[one.candidate],
            reason=f"the same structure as candidate {same[one.candidate]}",
        )
        if one.candidate in same
        else one
        for one in placed
    ]


def _energy_per_atom(one: RankedCandidate) -> float:
    return (one.energy_eV or 0.0) / len(one.atoms)


def _summary(composition: Composition, ranked: Sequence[RankedCandidate], kept: float | None) -> CompositionSummary:
    return CompositionSummary(
        composition.name,
        len(ranked),
        sum(one.rank is not None for one in ranked),
        sum(one.sent for one in ranked),
        kept,
    )


def _notes(
    candidates: Sequence[RankedCandidate],
    compositions: Sequence[CompositionSummary],
    potential: CommitteePotential,
    scale: EnergyScale,
    top: int,
) -> tuple[str, ...]:
    """Notes on what a ranking is based on and what it does not include."""
    return (
        *_across_compositions(compositions),
        *calibration_notes(potential, scale),
        *_unrelaxed(candidates, compositions, top),
    )


def _across_compositions(compositions: Sequence[CompositionSummary]) -> Iterator[str]:
    if len(compositions) > 1:
        yield (
            f"{len(compositions)} compositions ({', '.join(one.name for one in compositions)}): candidates are ranked "
            "within each. Across compositions only formation energies can be ranked, which need the energies of the "
            "elements or of competing phases."
        )
    empty = [one.name for one in compositions if one.ranked == 0]
    if empty:
        yield f"no candidate of {', '.join(empty)} could be ranked; the reasons are listed with them."


def _unrelaxed(
    candidates: Sequence[RankedCandidate], compositions: Sequence[CompositionSummary], top: int
) -> Iterator[str]:
    for composition in compositions:
        mine = [one for one in candidates if one.composition == composition.name]
        ranked = [_energy_per_unit_eV(one) for one in mine if one.rank is not None and one.rank <= top]
        limit = max(ranked) if len(ranked) >= top else float("inf")
        low = [
            one.candidate
            for one in mine
            if one.status is CandidateStatus.UNRELAXED and _energy_per_unit_eV(one) < limit
        ]
        if low:
            yield (
                f"candidates {low} of {composition.name} are not fully relaxed, but already low enough to be "
                f"among the best {top}: relax them further."
            )


def _energy_per_unit_eV(one: RankedCandidate) -> float:
    return (one.energy_eV or 0.0) / one.units
