"""Find nearly equal structures in a set, regardless of atom order and periodic images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell
from numpy.typing import NDArray
from scipy.spatial import cKDTree

NEAREST: Final = 8
"""Of each structure so many neighbours are looked at: a relaxation's end has hundreds, which say the same."""

COLUMNS: Final = 48
"""So many sorted coordinates, those that vary most, choose the neighbours."""

PHASE: Final = (np.sqrt(5.0) - 1.0) / 2.0  # no atom of a symmetric crystal lies on the fold
SAME_MOMENT_UB: Final = 1e-3

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NearPair:
    """Two structures of n atoms with the same composition, periodicity, charge, spin and moments.

    Attributes:
        first: place of one of them in the set.
        second: place of the other one, behind the first.
        order: (n,) indices that put the atoms of the second in the order of the first.
        moves_A: (n, 3) from each atom of the first to its partner, without the strain of the cell.
        strain: (3, 3) from the first cell to the second, 0 along directions that are not periodic.
        cell_A: largest distance between the ends of two lattice vectors.
    """

    first: int
    second: int
    order: NDArray[np.int64]
    moves_A: Array
    strain: Array
    cell_A: float

    @property
    def distance_A(self) -> float:
        """How far apart they are: the largest move of an atom, or of the end of a lattice vector."""
        return float(max(np.linalg.norm(self.moves_A, axis=1).max(), self.cell_A))


def near_pairs(structures: Sequence[Atoms], tolerance_A: float) -> list[NearPair]:
    """Find pairs of structures whose atoms can be paired with no move above the tolerance.

    Atoms may be listed in another order, lie in another periodic image, and a structure may be shifted as a whole
    along directions that are not periodic; one that is turned is another one here.

    Args:
        structures: S of them; those with a singular cell are never near another one.
        tolerance_A: of each atom and each lattice vector.
    """
    found = []
    for members, columns in _of_one_kind(structures):
        # Taking out the mean doubles what a move changes, a strained cell adds as much as its vectors move.
        _, neighbours = cKDTree(columns).query(
            columns, k=min(NEAREST + 1, len(members)), p=np.inf, distance_upper_bound=3 * tolerance_A
        )
        rows, places = np.nonzero(neighbours < len(members))
        others = neighbours[rows, places]
        for a, b in sorted({(min(i, j), max(i, j)) for i, j in zip(rows.tolist(), others.tolist(), strict=True)}):
            pair = _pair(members[a], members[b], tolerance_A) if a != b else None
            if pair is not None:
                found.append(pair)
    return sorted(found, key=lambda pair: (pair.first, pair.second))


@dataclass(frozen=True)
class _Placed:
    """A structure in scaled coordinates.

    Attributes:
        place: in the set.
        atoms: the structure.
        cell: (3, 3) lattice vectors of the periodic directions, and unit vectors that complete them, Å.
        inverse: (3, 3) of the cell.
        scaled: (n, 3) without their mean along directions that are not periodic.
    """

    place: int
    atoms: Atoms
    cell: Array
    inverse: Array
    scaled: Array


def _placed(place: int, atoms: Atoms) -> _Placed | None:
    cell = np.asarray(complete_cell(atoms.cell.array * atoms.pbc[:, None]))
    try:
        inverse = np.linalg.inv(cell)
    except np.linalg.LinAlgError:
        return None
    scaled = atoms.positions @ inverse
    if not np.isfinite(scaled).all():
        return None
    return _Placed(place, atoms, cell, inverse, scaled - np.where(atoms.pbc, 0.0, scaled.mean(axis=0)))


def _of_one_kind(structures: Sequence[Atoms]) -> Iterator[tuple[list[_Placed], Array]]:
    """Structures that may be near each other, and some coordinates (S, c) of theirs."""
    kinds: dict[tuple[object, ...], list[_Placed]] = {}
    for place, atoms in enumerate(structures):
        placed = _placed(place, atoms)
        if placed is not None:
            state = float(atoms.info.get("charge") or 0), atoms.info.get("spin")
            kinds.setdefault((np.sort(atoms.numbers).tobytes(), *atoms.pbc.tolist(), *state), []).append(placed)
    for members in kinds.values():
        if len(members) > 1:
            rows = np.array([_sorted_coordinates(placed) for placed in members])
            yield members, rows[:, np.argsort(-rows.var(axis=0), kind="stable")[:COLUMNS]]


def _sorted_coordinates(placed: _Placed) -> Array:
    """Coordinates (3 n,) in Å that neither the order of atoms nor a choice of periodic images changes.

    Sorting never makes two lists differ by more than their entries did, nor does folding a periodic axis at its middle.
    """
    heights = 1 / np.linalg.norm(placed.inverse, axis=0)
    folded = np.abs(2 * ((placed.scaled + PHASE) % 1.0) - 1) / 2
    values = np.where(placed.atoms.pbc, folded, placed.scaled) * heights
    return np.concatenate([values[np.lexsort((values[:, axis], placed.atoms.numbers)), axis] for axis in range(3)])


def _pair(one: _Placed, other: _Placed, tolerance_A: float) -> NearPair | None:
    apart = float(np.linalg.norm(other.cell - one.cell, axis=1).max())
    if apart > tolerance_A:
        return None
    order = np.arange(len(one.atoms))
    same_order = np.array_equal(one.atoms.numbers, other.atoms.numbers)
    moves = _moves(one, other, order)
    if not same_order or _largest(moves) > tolerance_A:
        found = _partners(one, other)
        if found is None or _largest(moves := _moves(one, other, found)) > tolerance_A:
            return None
        order = found
    moments = one.atoms.get_initial_magnetic_moments(), other.atoms.get_initial_magnetic_moments()[order]
    if moments[0].shape != moments[1].shape or np.abs(moments[0] - moments[1]).max() > SAME_MOMENT_UB:
        return None
    return NearPair(one.place, other.place, order, moves, one.inverse @ other.cell - np.eye(3), apart)


def _moves(one: _Placed, other: _Placed, order: NDArray[np.int64]) -> Array:
    """Move (n, 3) of each atom in Å, the nearest image where periodic."""
    scaled = other.scaled[order] - one.scaled
    return np.asarray((scaled - np.where(one.atoms.pbc, np.round(scaled), 0.0)) @ one.cell)


def _partners(one: _Placed, other: _Placed) -> NDArray[np.int64] | None:
    """The nearest atom of the other structure to each atom, None where elements or counts do not fit."""
    lengths = np.where(one.atoms.pbc, 1.0, 0.0)  # 0 stands for a direction that is not periodic
    _, order = cKDTree(_wrapped(other), boxsize=lengths).query(_wrapped(one))
    fits = np.array_equal(other.atoms.numbers[order], one.atoms.numbers) and len(np.unique(order)) == len(order)
    return np.asarray(order, dtype=np.int64) if fits else None


def _wrapped(placed: _Placed) -> Array:
    wrapped = placed.scaled % 1.0
    wrapped[wrapped >= 1.0] = 0.0  # what a tiny negative number is rounded to
    return np.where(placed.atoms.pbc, wrapped, placed.scaled)


def _largest(moves_A: Array) -> float:
    return float(np.linalg.norm(moves_A, axis=1).max())
