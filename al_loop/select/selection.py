"""SELECT: which suspects are worth a DFT calculation, under the round's budget."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.config import SelectSettings
from al_loop.records import Lane, VerdictKind, Visit
from committee.potential import CommitteePotential

SAME_POINT = 1e-9  # standardised feature units
FLAT = 1e-8  # a feature that varies less, relative to the most varied one, carries no distance
SEED_AUDIT = 0.25  # random share while nothing is calibrated and no uncertainty guides the choice

Descriptors = NDArray[np.float64]


@dataclass(frozen=True)
class Selection:
    """Frames to label, and what they were chosen by.

    Attributes:
        visits: the chosen frames, each once.
        reasons: frame id -> ``audit``, ``unphysical`` or ``farthest point``.
    """

    visits: tuple[Visit, ...]
    reasons: dict[str, str]


def select(
    visits: Sequence[Visit],
    known: Sequence[Atoms],
    potential: CommitteePotential,
    settings: SelectSettings,
    rng: np.random.Generator,
) -> Selection:
    """Choose frames for DFT: a random audit, a quota of the unphysical, the rest by farthest-point sampling.

    Args:
        visits: the round's gated frames.
        known: frames that are labelled already; new ones keep away from them.
        potential: gives the features in which distances are measured.
        settings: budget, audit share and quota.
        rng: draws the audit.
    """
    unique = list({visit.frame_id: visit for visit in reversed(visits)}.values())[::-1]
    candidates = [v for v in unique if v.verdict.kind is not VerdictKind.DISCARD]
    chosen: dict[str, tuple[Visit, str]] = {}
    _add(chosen, _audit(candidates, settings, rng), "audit")
    suspects = [v for v in candidates if v.verdict.kind is VerdictKind.SUSPECT and v.frame_id not in chosen]
    unphysical = [v for v in suspects if v.verdict.lane is Lane.PHYSICS]
    room = settings.labels_per_round - len(chosen)
    _add(chosen, unphysical[: min(settings.unphysical_quota, room)], "unphysical")
    physical = [v for v in suspects if v.verdict.lane is not Lane.PHYSICS]
    room = settings.labels_per_round - len(chosen)
    if room > 0 and physical:
        taken = [*known, *(visit.atoms for visit, _ in chosen.values())]
        points = frame_descriptors([*(v.atoms for v in physical), *taken], potential)
        weights = np.array([_weight(v) for v in physical])
        picks = farthest_points(points[: len(physical)], points[len(physical) :], weights, room)
        _add(chosen, [physical[i] for i in picks], "farthest point")
    return Selection(tuple(visit for visit, _ in chosen.values()), {fid: reason for fid, (_, reason) in chosen.items()})


def frame_descriptors(frames: Sequence[Atoms], potential: CommitteePotential) -> Descriptors:
    """Mean feature of each element in each frame, side by side, standardised over the frames: (f, elements x D)."""
    features = [prediction.features for prediction in potential.predict(frames, "energy")]
    elements = sorted({int(z) for atoms in frames for z in atoms.numbers})
    rows = [
        np.concatenate([_mean_feature(h, atoms.numbers == z) for z in elements])
        for h, atoms in zip(features, frames, strict=True)
    ]
    points = np.asarray(rows, dtype=np.float64)
    spread = points.std(axis=0)
    spread[spread <= FLAT * spread.max(initial=0.0)] = 1.0
    return np.asarray((points - points.mean(axis=0)) / spread)


def farthest_points(candidates: Descriptors, taken: Descriptors, weights: NDArray[np.float64], count: int) -> list[int]:
    """Greedy farthest-point sampling: each pick maximises weight x distance to everything taken before.

    Args:
        candidates: (c, d).
        taken: (t, d) points that are taken already; may be empty.
        weights: (c,) positive.
        count: picks at most.

    Returns:
        Indices of the picks, best first; duplicates of taken points are never picked.
    """
    centre = candidates.mean(axis=0)
    distance = np.full(len(candidates), np.inf)
    for point in taken:
        distance = np.minimum(distance, np.linalg.norm(candidates - point, axis=1))
    picks: list[int] = []
    while len(picks) < min(count, len(candidates)):
        first = not np.isfinite(distance).all()
        gain = weights * (np.linalg.norm(candidates - centre, axis=1) if first else distance)
        if not first and gain.max() <= SAME_POINT:
            break
        pick = int(np.argmax(gain))
        picks.append(pick)
        distance = np.minimum(distance, np.linalg.norm(candidates - candidates[pick], axis=1))
    return picks


def _audit(candidates: Sequence[Visit], settings: SelectSettings, rng: np.random.Generator) -> list[Visit]:
    """A random draw from everything that could be labelled, trusted or not; the remainder decided by chance."""
    uncalibrated = any(v.verdict.lane is Lane.UNCALIBRATED for v in candidates)
    share = max(settings.audit_fraction, SEED_AUDIT * uncalibrated) * settings.labels_per_round
    count = min(int(share) + int(rng.random() < share - int(share)), len(candidates))
    return [candidates[i] for i in sorted(rng.choice(len(candidates), size=count, replace=False))] if count else []


def _add(chosen: dict[str, tuple[Visit, str]], visits: Sequence[Visit], reason: str) -> None:
    for visit in visits:
        chosen.setdefault(visit.frame_id, (visit, reason))


def _weight(visit: Visit) -> float:
    """Largest force uncertainty; all the same where nothing is known about it."""
    return 1.0 if visit.force_uncertainty_eV_per_A is None else visit.force_uncertainty_eV_per_A


def _mean_feature(features: NDArray[np.float64], members: NDArray[np.bool_]) -> NDArray[np.float64]:
    if not members.any():
        return np.zeros(features.shape[1])
    return np.asarray(features[members].mean(axis=0))
