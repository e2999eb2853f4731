"""SELECT: choose the frames for DFT calculations within the round's budget."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from ase import Atoms

from al_loop.config import SelectSettings
from al_loop.records import AUDIT, FARTHEST_POINT, REPRESENTATIVE, UNPHYSICAL, FrameSummary, GateCheck, VerdictKind
from al_loop.stages.select.samplers import FarthestPoints, Representatives
from al_loop.structures.descriptors import Descriptor, frame_descriptor, stacked, standardised
from committee.potential import CommitteePotential
from committee.prediction import Prediction

SEED_AUDIT = 0.25  # random share while nothing is calibrated and no uncertainty guides the selection


@dataclass(frozen=True)
class SelectionBudget:
    """Limits of one selection.

    Attributes:
        labels: maximum number of frames.
        unphysical: maximum number of these that are unphysical but computable.
        audit_of: number of labels that the audit's share refers to.
        audited: the audit is drawn from these frames; None for all.
    """

    labels: int
    unphysical: int
    audit_of: float
    audited: Collection[str] | None = None

    @classmethod
    def of(
        cls,
        settings: SelectSettings,
        budget: int,
        spent: Mapping[str, int],
        batch: int = 0,
        batches: int = 1,
        audited: Collection[str] | None = None,
    ) -> Self:
        """An equal share of a round's budget and quota, plus what earlier batches left of theirs.

        ``spent`` maps reasons to labels that earlier batches requested; ``batch`` counts from 0.
        """

        def due(total: int) -> int:
            return total * (batch + 1) // batches

        return cls(
            labels=max(0, due(budget) - sum(spent.values())),
            unphysical=max(0, due(settings.unphysical_quota) - spent.get(UNPHYSICAL, 0)),
            audit_of=budget / batches,
            audited=audited,
        )


@dataclass
class Selection:
    """Frames to label, with the reason of each.

    Attributes:
        reasons: frame id -> ``audit``, ``unphysical``, ``farthest point`` or ``representative``, in order of selection.
    """

    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def frame_ids(self) -> list[str]:
        """The chosen frames, each once."""
        return list(self.reasons)


def select(
    candidates: Sequence[FrameSummary],
    known: Sequence[FrameSummary],
    settings: SelectSettings,
    rng: np.random.Generator,
    selection_budget: SelectionBudget | None = None,
) -> Selection:
    """Select frames for DFT: a random audit, a quota of unphysical frames, the rest by farthest-point sampling.

    While no uncertainty is known, the rest are the most representative frames. Candidates without a descriptor can only
    be drawn for the audit, which ``rng`` draws. New frames keep away from those in ``known``.
    """
    allowed = selection_budget or SelectionBudget.of(settings, settings.labels_per_round, {})
    ids = {frame.frame_id for frame in known}
    fresh = {c.frame_id: c for c in reversed(candidates) if c.frame_id not in ids and c.kind is not VerdictKind.DISCARD}
    unique = list(fresh.values())[::-1]
    chosen = Selection()
    chosen.reasons.update(dict.fromkeys((c.frame_id for c in _audit(unique, settings, allowed, rng)), AUDIT))
    suspects = [c for c in unique if c.kind is VerdictKind.SUSPECT and c.descriptor is not None]
    for check_is_physics, quota in ((True, allowed.unphysical), (False, allowed.labels)):
        taken = [*known, *(fresh[frame_id] for frame_id in chosen.reasons)]
        left = [
            c
            for c in suspects
            if (c.check is GateCheck.PHYSICS) is check_is_physics and c.frame_id not in chosen.reasons
        ]
        room = min(quota, allowed.labels - len(chosen.reasons))
        for pick in spread_out(left, taken, settings, room):
            spread = REPRESENTATIVE if _unguided(pick) else FARTHEST_POINT
            chosen.reasons[pick.frame_id] = UNPHYSICAL if check_is_physics else spread
    return chosen


def spread_out(
    candidates: Sequence[FrameSummary], taken: Sequence[FrameSummary], settings: SelectSettings, count: int
) -> list[FrameSummary]:
    """At most ``count`` candidates by farthest-point sampling within each composition, weighted by uncertainty.

    A composition without any known uncertainty is sampled by k-medoids instead.

    The next pick is the best one of all compositions: distances are in units of the typical distance within their
    composition and uncertainties in eV/Å, so that both compare. A composition without labelled frames comes first.
    """
    if count <= 0:
        return []
    by_formula: dict[str, list[FrameSummary]] = {}
    for candidate in candidates:
        by_formula.setdefault(candidate.formula, []).append(candidate)
    samplers = {formula: _sampler(mine, taken, settings) for formula, mine in by_formula.items()}
    best = {formula: sampler.best() for formula, sampler in samplers.items()}
    picks: list[FrameSummary] = []
    while len(picks) < count and best:
        formula = max(best, key=lambda name: best[name][1])
        index, gain = best.pop(formula)
        if gain <= 0:
            continue
        picks.append(by_formula[formula][index])
        samplers[formula].take(index)
        best[formula] = samplers[formula].best()
    return picks


def _sampler(
    mine: Sequence[FrameSummary], taken: Sequence[FrameSummary], settings: SelectSettings
) -> FarthestPoints | Representatives:
    formula = mine[0].formula
    there = [frame.descriptor for frame in taken if frame.formula == formula and frame.descriptor is not None]
    points = standardised(stacked([*(c.descriptor for c in mine if c.descriptor is not None), *there]))
    if all(_unguided(candidate) for candidate in mine):
        return Representatives(points[: len(mine)], points[len(mine) :], settings.near_duplicate_distance)
    weights = np.array([_weight(candidate) for candidate in mine]) ** settings.uncertainty_power
    return FarthestPoints(points[: len(mine)], points[len(mine) :], weights, settings.near_duplicate_distance)


def _audit(
    candidates: Sequence[FrameSummary], settings: SelectSettings, allowed: SelectionBudget, rng: np.random.Generator
) -> list[FrameSummary]:
    """A random draw from all computable frames, trusted or not; a fractional count is rounded at random."""
    drawn_from = [c for c in candidates if allowed.audited is None or c.frame_id in allowed.audited]
    unguided = any(_unguided(candidate) for candidate in drawn_from)
    share = max(settings.audit_fraction, SEED_AUDIT * unguided) * allowed.audit_of
    count = min(int(share) + int(rng.random() < share - int(share)), len(drawn_from), allowed.labels)
    return [drawn_from[i] for i in sorted(rng.choice(len(drawn_from), size=count, replace=False))] if count else []


def _unguided(candidate: FrameSummary) -> bool:
    """The gate is not calibrated for this frame, and the committee has no uncertainty for it."""
    return candidate.check is GateCheck.UNCALIBRATED and candidate.force_uncertainty_eV_per_A is None


def _weight(candidate: FrameSummary) -> float:
    """Largest force uncertainty; 1 where it is not known."""
    sigma = candidate.force_uncertainty_eV_per_A
    return 1.0 if sigma is None else max(sigma, 1e-9)


def undescribed(candidates: Sequence[FrameSummary]) -> list[str]:
    """Ids of suspects whose trajectory stopped before the model predicted them."""
    return [c.frame_id for c in candidates if c.descriptor is None and c.kind is VerdictKind.SUSPECT]


def described(
    candidates: Sequence[FrameSummary],
    taken: Mapping[str, Atoms],
    potential: CommitteePotential,
    stored: Mapping[str, Descriptor],
    structures: Callable[[Collection[str]], Mapping[str, Atoms]],
    own: Collection[str] | None = None,
) -> tuple[list[FrameSummary], list[FrameSummary]]:
    """Return candidates, and the labelled and requested frames, with descriptors of one model.

    Args:
        candidates: frames to select from.
        taken: labelled and requested frames.
        potential: the model that selects.
        stored: descriptors of ``taken`` by frame id; missing ones are computed.
        structures: reads structures by frame id.
        own: ids of the candidates whose descriptors are the model's own; None if all are.
    """
    mine = [c if own is None or c.frame_id in own else replace(c, descriptor=None) for c in candidates]
    found = described_candidates(mine, structures(undescribed(mine)), potential)
    return found, known_frames(taken, stored, potential)


def described_candidates(
    candidates: Sequence[FrameSummary], structures: Mapping[str, Atoms], potential: CommitteePotential
) -> list[FrameSummary]:
    """Fill in missing descriptors of candidates; a frame that the foundation refuses stays without.

    ``structures`` are those without a descriptor, by frame id. Features are the same in all rounds until the served
    model stands on an adapted foundation.
    """
    computed = _computed(structures, potential)
    return [replace(c, descriptor=computed[c.frame_id]) if c.frame_id in computed else c for c in candidates]


def known_frames(
    taken: Mapping[str, Atoms], stored: Mapping[str, Descriptor], potential: CommitteePotential
) -> list[FrameSummary]:
    """Labelled and requested frames with their descriptors; None where the foundation refuses a frame."""
    missing = {frame: atoms for frame, atoms in taken.items() if frame not in stored}
    descriptors = {**stored, **_computed(missing, potential)}
    return [FrameSummary(frame, atoms.get_chemical_formula(), descriptors.get(frame)) for frame, atoms in taken.items()]


def _computed(frames: Mapping[str, Atoms], potential: CommitteePotential) -> dict[str, Descriptor]:
    """Descriptors by frame id, of the frames that the foundation does not refuse."""
    predictions = potential.predict_each(list(frames.values()))
    return {
        frame_id: frame_descriptor(prediction.features, atoms.numbers)
        for (frame_id, atoms), prediction in zip(frames.items(), predictions, strict=True)
        if isinstance(prediction, Prediction)
    }
