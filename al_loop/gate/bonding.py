"""Bonded pairs by distance over the sum of covalent radii, and the fragments that they form."""

from dataclasses import dataclass

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
