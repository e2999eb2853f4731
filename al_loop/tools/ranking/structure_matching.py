"""Compare structures regardless of position, orientation, cell choice and order of atoms."""

from math import lcm

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

CUTOFF_A = 6.0
MOMENT = 0  # stands among the elements for the initial magnetic moment

Array = NDArray[np.float64]
Surroundings = dict[int, dict[int, Array]]


def surroundings(atoms: Atoms) -> Surroundings:
    """What each atom sees: its sorted distances (Å) to each element, up to 6 Å.

    What is further away counts as 6 Å away, so that the numbers change continuously as atoms move. Mirror images see
    the same, and have the same energy. Initial magnetic moments count as well: another order of moments is another
    structure.

    Returns:
        Element of the atoms -> element of what they see -> (atoms, most neighbours).
    """
    first, second, distance = neighbor_list("ijd", atoms, CUTOFF_A)
    seen = atoms.numbers[second]
    elements = np.unique(atoms.numbers)
    moments = atoms.get_initial_magnetic_moments()
    found: Surroundings = {}
    for z in elements:
        mine = np.flatnonzero(atoms.numbers == z)
        found[int(z)] = {MOMENT: moments[mine, None]}
        for other in elements:
            rows = [np.sort(distance[(first == i) & (seen == other)]) for i in mine]
            found[int(z)][int(other)] = _padded(rows, max(map(len, rows)))
    return found


def same_structure(one: Surroundings, other: Surroundings, tolerance: float) -> bool:
    """Whether the atoms of two structures can be paired so that each pair sees the same.

    Args:
        one: of a structure.
        other: of another of the same composition; their cells may hold different numbers of it.
        tolerance: largest deviation of a distance (Å) or moment (μB).
    """
    return one.keys() == other.keys() and all(_paired(one[z], other[z], tolerance) for z in one)


def _paired(one: dict[int, Array], other: dict[int, Array], tolerance: float) -> bool:
    first, second = [], []
    for z, mine in one.items():
        width = max(mine.shape[1], other[z].shape[1])
        first.append(_padded(mine, width))
        second.append(_padded(other[z], width))
    rows, columns = np.concatenate(first, axis=1), np.concatenate(second, axis=1)
    count = lcm(len(rows), len(columns))
    rows, columns = np.tile(rows, (count // len(rows), 1)), np.tile(columns, (count // len(columns), 1))
    apart = np.stack([np.abs(columns - row).max(axis=1) for row in rows])
    pairs = linear_sum_assignment(apart > tolerance)
    return bool((apart[pairs] <= tolerance).all())


def _padded(rows: list[Array] | Array, width: int) -> Array:
    padded = np.full((len(rows), width), CUTOFF_A)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded
