"""Group structures by composition, and compare them regardless of position, orientation, cell and order of atoms.

Energies are compared within one composition only. Between compositions only formation energies can be ranked, which
need the energies of the elements or of competing phases; total energies cannot be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import gcd, lcm

import numpy as np
from ase import Atoms
from ase.formula import Formula
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

CUTOFF_A = 6.0
MOMENT = 0  # stands among the elements for the initial magnetic moment
Array = NDArray[np.float64]
Surroundings = dict[int, dict[int, Array]]


@dataclass(frozen=True)
class Composition:
    """Structures whose energies may be compared.

    Attributes:
        name: formula of the compared unit, with charge and spin multiplicity where they are given.
        unit_atoms: atoms in that unit: all cells are whole multiples of it.
        members: their positions in the list that was grouped.
    """

    name: str
    unit_atoms: int
    members: list[int]

    def units(self, atoms: Atoms) -> float:
        """How many units a structure holds."""
        return len(atoms) / self.unit_atoms


def grouped(frames: Sequence[Atoms]) -> list[Composition]:
    """Group comparable structures, in the order of their first appearance.

    Crystals are compared per formula unit whatever the size of their cells; what is not periodic in three directions
    only with structures of the same number of atoms, since two slabs of different thickness differ by bulk.
    Energies are counted per largest unit that all cells hold a whole number of times: the whole cell where all are
    of one size.
    """
    groups: dict[tuple[str, object, object, bool], list[int]] = {}
    for index, atoms in enumerate(frames):
        crystal = bool(atoms.pbc.all())
        formula = atoms.symbols.formula
        name = (formula.reduce()[0] if crystal else formula).format("hill")
        groups.setdefault((name, atoms.info.get("charge", 0), atoms.info.get("spin"), crystal), []).append(index)
    return [_composition(frames, *key[:3], members) for key, members in groups.items()]


def _composition(
    frames: Sequence[Atoms], formula: str, charge: object, spin: object, members: list[int]
) -> Composition:
    atoms_in_formula = len(Formula(formula))
    multiple = reduce(gcd, (len(frames[i]) // atoms_in_formula for i in members))
    unit = Formula("".join(f"{s}{n * multiple}" for s, n in Formula(formula).count().items())).format("hill")
    parts = [unit, *([f"charge {charge}"] if charge else []), *([f"spin {spin}"] if spin is not None else [])]
    return Composition(", ".join(parts), atoms_in_formula * multiple, members)


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
    """Whether the atoms of two structures of one composition can be paired so that each pair sees the same.

    Their cells may hold different numbers of it; ``tolerance`` is the largest deviation of a distance (Å) or moment
    (μB).
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
