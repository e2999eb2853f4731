"""Detect molecules that dissociate and clusters that merge, and that stay so for two checks."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from ase import Atoms

from al_loop.gate.bonding import (
    BOND_FACTOR,
    BROKEN_FACTOR,
    MADE_FACTOR,
    NOBLE_GASES,
    NONMETALS,
    Bonding,
    Ints,
    Mask,
)


class FragmentWatch:
    """Keeps the molecules and clusters of a start, and which had dissociated or merged at the previous check.

    A *molecule* is bound by bonds between nonmetals and is finite. It has dissociated where a piece of it is bonded to
    nothing else: a proton that transfers to another molecule or a fragment that adsorbs on a surface does not count,
    and atoms of metals and salts may exchange freely.

    A *cluster* is bound by any bonds, has at least two atoms (or is a noble gas atom) and is finite. Two of them have
    merged where a bond between nonmetals, or between two clusters of metal, connects their largest pieces: a molecule
    that adsorbs on a surface has not merged with it, nor has a ligand with its ion.

    Args:
        start: the intact start.
        bonding: of the start.
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
