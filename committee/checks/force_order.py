"""Which atom each row of labelled forces belongs to, where it is not the one it stands at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from committee.checks.unit_mismatch import AGREEMENT, MIN_FRAMES, cosine

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Pair = tuple[Indices, Array, Array]
"""Atomic numbers (n,), labelled forces (n, 3) and the foundation's (n, 3)."""

FEWEST_ATOMS = 4  # with fewer some order brings any forces near any others
BEYOND_CHANCE = 1 / 3  # of the distance to a cosine of 1 that chance leaves


@dataclass(frozen=True)
class FoundOrder:
    """An order of atoms.

    Attributes:
        description: in words.
        agreement: median cosine of labels in this order and the foundation, on frames it was not fitted to.
    """

    description: str
    agreement: float


def _by_symbol(numbers: Indices) -> Indices:
    return np.argsort([chemical_symbols[z] for z in numbers], kind="stable")


def _by_number(numbers: Indices) -> Indices:
    return np.argsort(numbers, kind="stable")


def _grouped(numbers: Indices) -> Indices:
    seen = list(dict.fromkeys(numbers.tolist()))
    return np.argsort([seen.index(z) for z in numbers.tolist()], kind="stable")


def _reversed(numbers: Indices) -> Indices:
    return np.arange(len(numbers))[::-1]


NAMED: dict[str, Callable[[Indices], Indices]] = {
    "sorted by element symbol": _by_symbol,
    "sorted by atomic number": _by_number,
    "grouped by element": _grouped,
    "in reversed order": _reversed,
}


def named_order(frames: Sequence[Pair]) -> FoundOrder | None:
    """Return the usual order in which labels agree best with the foundation; None if all leave them as they are."""
    tried = []
    for name, order in NAMED.items():
        orders = [order(numbers) for numbers, _, _ in frames]
        if all((rows == np.arange(len(rows))).all() for rows in orders):
            continue
        described = f"they are {name}, the structure is not" if order is not _reversed else f"they stand {name}"
        tried.append(FoundOrder(described, _median_cosine(frames, orders)))
    return max(tried, key=lambda found: found.agreement, default=None)


def common_order(frames: Sequence[Pair]) -> FoundOrder | None:
    """Return the one order that brings labels of the same composition nearest to the foundation.

    It is fitted to every second frame and judged on the others, and the other way round: on frames it has seen the
    best of n! orders agrees with anything.

    Returns:
        None where too few frames share a composition and an order of atoms.
    """
    kinds: dict[bytes, list[Pair]] = {}
    for frame in frames:
        kinds.setdefault(np.asarray(frame[0], dtype=np.int64).tobytes(), []).append(frame)
    largest = max(kinds.values(), key=len)
    if len(largest) < MIN_FRAMES:
        return None
    halves = largest[::2], largest[1::2]
    agreements = [
        _median_cosine(judged, [_best_order(fitted)] * len(judged)) for fitted, judged in (halves, halves[::-1])
    ]
    order = _best_order(largest)
    moved = [f"row {row} to atom {atom}" for row, atom in enumerate(order) if row != atom]
    listed = ", ".join([*moved[:3], *(["..."] if moved[3:] else [])])
    return FoundOrder(f"{listed} (counted from 0)", min(agreements))


def changing_order(frames: Sequence[Pair]) -> FoundOrder | None:
    """Say whether an order of its own for each frame brings labels near the foundation.

    The best of n! orders agrees with much by chance. How much is seen from the same labels with their axes exchanged,
    which have the same sizes and belong to no atom.

    Returns:
        None where it does not, or where frames have too few atoms to tell.
    """
    large = [frame for frame in frames if len(frame[0]) >= FEWEST_ATOMS]
    if len(large) < MIN_FRAMES:
        return None
    own = fits_in_some_order(large)
    return FoundOrder("their order differs from frame to frame", own) if own else None


def fits_in_some_order(frames: Sequence[Pair]) -> float:
    """Return how well labels agree with the foundation, each frame in its best order; 0 where chance would do as well.

    Args:
        frames: of at least ``FEWEST_ATOMS`` atoms; with fewer, 0 is returned.
    """
    if any(len(numbers) < FEWEST_ATOMS for numbers, _, _ in frames):
        return 0.0
    turned = [(numbers, label[:, [1, 2, 0]], foundation) for numbers, label, foundation in frames]
    own, chance = (_median_cosine(tried, [_best_order([frame]) for frame in tried]) for tried in (frames, turned))
    return own if own >= AGREEMENT and 1 - own <= BEYOND_CHANCE * (1 - chance) else 0.0


def _best_order(frames: Sequence[Pair]) -> Indices:
    """For each row of the labels the atom it fits best, one to one."""
    gain = sum(
        (label @ foundation.T) / (np.linalg.norm(label) * np.linalg.norm(foundation)) for _, label, foundation in frames
    )
    _, atoms = linear_sum_assignment(gain, maximize=True)
    return np.asarray(atoms, dtype=np.int64)


def _median_cosine(frames: Sequence[Pair], orders: Sequence[Indices]) -> float:
    """Agreement when row k of the labels is given to atom ``order[k]``."""
    cosines = [cosine(label, foundation[order]) for (_, label, foundation), order in zip(frames, orders, strict=True)]
    return float(np.median(cosines))
