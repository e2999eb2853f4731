"""Bonded pairs, the fragments that they form, and molecules that dissociate or clusters that merge."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

MADE_FACTOR = 1.15  # of the sum of covalent radii: a new bond counts only when it is as close as this
BOND_FACTOR = 1.3  # closer than this is bonded
BROKEN_FACTOR = 1.8  # a bond counts as broken only beyond this, so that vibrations do not

NONMETALS = np.array([1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 33, 34, 35, 53])  # H B C N O F Si P S Cl As Se Br I
NOBLE_GASES = np.array([2, 10, 18, 36, 54, 86])

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Bonding:
    """Pairs within a multiple of the sum of covalent radii, each counted twice.

    Attributes:
        ratio: (p,) distance over sum of radii.
        first: (p,) index of the first atom.
        second: (p,) index of the second atom.
        shift: (p, 3) cell vectors between the first atom and the image of the second.
        n_atoms: n.
    """

    ratio: NDArray[np.float64]
    first: Ints
    second: Ints
    shift: Ints
    n_atoms: int

    @classmethod
    def of(cls, atoms: Atoms) -> "Bonding":
        """Find all pairs up to ``BROKEN_FACTOR``."""
        radii = covalent_radii[atoms.numbers]
        first, second, distance, shift = neighbor_list("ijdS", atoms, BROKEN_FACTOR * radii)
        return cls(distance / (radii[first] + radii[second]), first, second, shift, len(atoms))

    def fragments(self, chosen: Mask) -> Ints:
        """Fragment number of each atom (n,), the chosen pairs (p,) being connected."""
        return np.asarray(connected_components(self._graph(chosen), directed=False)[1])

    def extended(self, chosen: Mask, fragment: Ints) -> Mask:
        """Whether each atom's fragment extends periodically through the cells: a crystal, a surface, a chain (n,).

        Each atom gets the cell that a walk from its fragment's first atom reaches it in. A bond between atoms whose
        cells disagree closes a ring through the periodic boundary.
        """
        cell = np.zeros((self.n_atoms, 3), dtype=np.int64)
        graph = self._graph(chosen)
        step = {
            (int(i), int(j)): s
            for i, j, s in zip(self.first[chosen], self.second[chosen], self.shift[chosen], strict=True)
        }
        roots, size = np.unique(fragment, return_index=True, return_counts=True)[1:]
        for root in roots[size > 1]:
            order, before = breadth_first_order(graph, root, directed=False)
            for atom in order[1:]:
                cell[atom] = cell[before[atom]] + step[int(before[atom]), int(atom)]
        first, second = self.first[chosen], self.second[chosen]
        disagrees = (cell[first] + self.shift[chosen] != cell[second]).any(axis=1)
        return np.asarray(np.isin(fragment, fragment[first[disagrees]]))

    def coordination(self) -> Ints:
        """Number of bonded neighbours of each atom (n,)."""
        return np.bincount(self.first[self.ratio < BOND_FACTOR], minlength=self.n_atoms)

    def _graph(self, chosen: Mask) -> coo_array:
        first, second = self.first[chosen], self.second[chosen]
        return coo_array((np.ones(len(first)), (first, second)), shape=(self.n_atoms, self.n_atoms)).tocsr()


class FragmentWatch:
    """Keeps the molecules and clusters of a start, and which had dissociated or merged at the previous check.

    A *molecule* is bound by bonds between nonmetals and is finite. It has dissociated where a piece of it is bonded to
    nothing else: a proton that transfers to another molecule or a fragment that adsorbs on a surface does not count,
    and atoms of metals and salts may exchange freely.

    A *cluster* is bound by any bonds, has at least two atoms (or is a noble gas atom) and is finite. Two of them have
    merged where a bond between nonmetals, or between two clusters of metal, connects their largest pieces: a molecule
    that adsorbs on a surface has not merged with it, nor has a ligand with its ion.
    """

    def __init__(self, start: Atoms, bonding: Bonding) -> None:
        nonmetal = np.isin(start.numbers, NONMETALS)
        bonded = bonding.ratio < BOND_FACTOR
        covalent = bonded & nonmetal[bonding.first] & nonmetal[bonding.second]
        self._nonmetal = nonmetal
        self._molecule = bonding.fragments(covalent)
        self._in_molecule = ~bonding.extended(covalent, self._molecule) & (_sizes(self._molecule) > 1)
        self._cluster = bonding.fragments(bonded)
        counts = (_sizes(self._cluster) > 1) | np.isin(start.numbers, NOBLE_GASES)
        self._in_cluster = counts & ~bonding.extended(bonded, self._cluster)
        self._metallic = ~np.isin(self._cluster, self._cluster[nonmetal])
        self._lost: frozenset[int] = frozenset()
        self._merged: frozenset[tuple[int, int]] = frozenset()

    def state(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"lost": sorted(self._lost), "merged": sorted(self._merged)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state()``."""
        self._lost = frozenset(int(atom) for atom in state["lost"])
        self._merged = frozenset((int(first), int(second)) for first, second in state["merged"])

    def split(self, bonding: Bonding) -> tuple[int, ...]:
        """Atoms that are detached from their molecule, now and at the previous check."""
        before, self._lost = self._lost, frozenset(int(i) for i in np.flatnonzero(self._detached(bonding)))
        return tuple(sorted(before & self._lost))

    def merged(self, bonding: Bonding) -> tuple[int, ...]:
        """Atoms of clusters that are merged, now and at the previous check."""
        before, self._merged = self._merged, frozenset(self._unions(bonding))
        clusters = [cluster for pair in before & self._merged for cluster in pair]
        return tuple(int(i) for i in np.flatnonzero(np.isin(self._cluster, clusters)))

    def _detached(self, bonding: Bonding) -> Mask:
        """Whether each atom is in a piece of a molecule that is bonded to nothing else (n,)."""
        if not self._in_molecule.any():
            return np.zeros(bonding.n_atoms, dtype=bool)
        own = self._within(bonding, self._molecule, BROKEN_FACTOR)
        home = self._main(bonding.fragments(own), self._molecule) | ~self._in_molecule
        now = bonding.fragments(own | (bonding.ratio < BOND_FACTOR))
        return ~np.asarray(np.isin(now, now[home]))

    def _unions(self, bonding: Bonding) -> Iterable[tuple[int, int]]:
        first, second = bonding.first, bonding.second
        clusters = self._cluster
        new = (bonding.ratio < MADE_FACTOR) & (clusters[first] < clusters[second])
        new &= self._in_cluster[first] & self._in_cluster[second]
        new &= (self._nonmetal[first] & self._nonmetal[second]) | (self._metallic[first] & self._metallic[second])
        if not new.any():
            return ()
        main = self._main(bonding.fragments(self._within(bonding, clusters, BOND_FACTOR)), clusters)
        new &= main[first] & main[second]
        return zip(clusters[first[new]].tolist(), clusters[second[new]].tolist(), strict=True)

    @staticmethod
    def _within(bonding: Bonding, group: Ints, factor: float) -> Mask:
        same: Mask = (bonding.ratio < factor) & (group[bonding.first] == group[bonding.second])
        return same

    @staticmethod
    def _main(piece: Ints, group: Ints) -> Mask:
        """Whether each atom is in the largest piece of its group (n,)."""
        size = _sizes(piece)
        order = np.lexsort((piece, -size, group))
        leads = order[np.unique(group[order], return_index=True)[1]]
        return np.asarray(np.isin(piece, piece[leads]))


def _sizes(group: Ints) -> Ints:
    """Number of atoms in each atom's group (n,)."""
    return np.bincount(group)[group]
