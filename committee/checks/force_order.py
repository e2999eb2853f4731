"""Detection of labelled forces whose rows are not in the order of the atoms."""

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

FEWEST_ATOMS = 4  # with fewer, some order makes any forces agree with any others
BEYOND_CHANCE = 1 / 3  # largest 1 - cosine, in units of the value by chance


@dataclass(frozen=True)
class FoundOrder:
    """An order of atoms.

    Attributes:
        description: the order, in one clause.
        agreement: median cosine of labels in this order and the foundation, on held-out frames.
    """

    description: str
    agreement: float


def _by_symbol(numbers: Indices) -> Indices:
    return np.argsort([chemical_symbols[z] for z in numbers], kind="stable")


def _by_number(numbers: Indices) -> Indices:
    return np.argsort(numbers, kind="stable")


def _grouped(numbers: Indices) -> Indices:
    elements = list(dict.fromkeys(numbers.tolist()))
    return np.argsort([elements.index(z) for z in numbers.tolist()], kind="stable")


def _reversed(numbers: Indices) -> Indices:
    return np.arange(len(numbers))[::-1]


NAMED: dict[str, Callable[[Indices], Indices]] = {
    "sorted by element symbol": _by_symbol,
    "sorted by atomic number": _by_number,
    "grouped by element": _grouped,
    "in reversed order": _reversed,
}


def named_order(frames: Sequence[Pair]) -> FoundOrder | None:
    """Return the common convention in which labels agree best with the foundation; None if none changes the order."""
    tried = []
    for name, order in NAMED.items():
        orders = [order(numbers) for numbers, _, _ in frames]
        if all((rows == np.arange(len(rows))).all() for rows in orders):
            continue
        description = f"they are {name}" + (", the structure is not" if order is not _reversed else "")
        tried.append(FoundOrder(description, _median_cosine(frames, orders)))
    return max(tried, key=lambda found: found.agreement, default=None)


def common_order(frames: Sequence[Pair]) -> FoundOrder | None:
    """Return the one order in which labels of the same composition agree best with the foundation.

    The agreement is cross-validated between every second frame and the others: on the frames of its fit the best of
    n! orders agrees with anything.

    Returns:
        The order; None where too few frames share a composition and an order of atoms.
    """
    groups: dict[bytes, list[Pair]] = {}
    for frame in frames:
        groups.setdefault(np.asarray(frame[0], dtype=np.int64).tobytes(), []).append(frame)
    largest = max(groups.values(), key=len)
    if len(largest) < MIN_FRAMES:
        return None
    halves = largest[::2], largest[1::2]
    agreements = [
        _median_cosine(held_out, [_best_order(fitted)] * len(held_out)) for fitted, held_out in (halves, halves[::-1])
    ]
    order = _best_order(largest)
    moved = [f"row {row} to atom {atom}" for row, atom in enumerate(order) if row != atom]
    listed = ", ".join([*moved[:3], *(["..."] if moved[3:] else [])])
    return FoundOrder(f"{listed} (counted from 0)", min(agreements))


def changing_order(frames: Sequence[Pair]) -> FoundOrder | None:
    """Determine whether labels agree with the foundation when each frame has an order of its own.

    The best of n! orders agrees to some degree by chance. The same labels with their axes permuted, which have the
    same norms and belong to no atom, measure how much.

    Returns:
        The finding; None where they do not agree, or where frames have too few atoms to decide.
    """
    large = [frame for frame in frames if len(frame[0]) >= FEWEST_ATOMS]
    if len(large) < MIN_FRAMES:
        return None
    own = fits_in_some_order(large)
    return FoundOrder("their order differs from frame to frame", own) if own else None


def fits_in_some_order(frames: Sequence[Pair]) -> float:
    """Return the agreement of labels with the foundation, each frame in its best order; 0 if chance explains it.

    Args:
        frames: of at least ``FEWEST_ATOMS`` atoms; with fewer, 0 is returned.
    """
    if any(len(numbers) < FEWEST_ATOMS for numbers, _, _ in frames):
        return 0.0
    permuted = [(numbers, label[:, [1, 2, 0]], foundation) for numbers, label, foundation in frames]
    agreement, chance = (_median_cosine(pairs, [_best_order([p]) for p in pairs]) for pairs in (frames, permuted))
    return agreement if agreement >= AGREEMENT and 1 - agreement <= BEYOND_CHANCE * (1 - chance) else 0.0


def _best_order(frames: Sequence[Pair]) -> Indices:
    """Return for each row of the labels the atom that it fits best, one to one."""
    gain = sum(
        (label @ foundation.T) / (np.linalg.norm(label) * np.linalg.norm(foundation)) for _, label, foundation in frames
    )
    _, atoms = linear_sum_assignment(gain, maximize=True)
    return np.asarray(atoms, dtype=np.int64)


def _median_cosine(frames: Sequence[Pair], orders: Sequence[Indices]) -> float:
    """Return the agreement if row k of the labels belongs to atom ``order[k]``."""
    cosines = [cosine(label, foundation[order]) for (_, label, foundation), order in zip(frames, orders, strict=True)]
    return float(np.median(cosines))
