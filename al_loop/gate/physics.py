"""The physics lane: does this still look like the matter the trajectory started from?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from al_loop.config import PhysicsSettings
from al_loop.gate.energy import EnergyWatch
from al_loop.records import Lane, Verdict, VerdictKind

BOND_FACTOR = 1.3  # of the sum of covalent radii: closer than this is bonded
BROKEN_FACTOR = 1.8  # a bond counts as broken only beyond this, so that vibrations do not
CROWDING_FACTOR = 1.5  # mean number of bonded neighbours against the start


@dataclass(frozen=True)
class Bonding:
    """Pairs within a multiple of the sum of covalent radii.

    Attributes:
        ratio: (p,) distance over sum of radii, each pair counted twice.
        first: (p,) index of the first atom.
        second: (p,) index of the second atom.
        n_atoms: n.
    """

    ratio: NDArray[np.float64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    n_atoms: int

    @classmethod
    def of(cls, atoms: Atoms) -> "Bonding":
        """Find all pairs up to ``BROKEN_FACTOR``."""
        radii = covalent_radii[atoms.numbers]
        first, second, distance = neighbor_list("ijd", atoms, BROKEN_FACTOR * radii)
        return cls(distance / (radii[first] + radii[second]), first, second, len(atoms))

    def fragments(self, factor: float) -> NDArray[np.int64]:
        """Fragment number of each atom (n,), atoms closer than ``factor`` being connected."""
        near = self.ratio < factor
        graph = coo_array(
            (np.ones(near.sum()), (self.first[near], self.second[near])), shape=(self.n_atoms, self.n_atoms)
        )
        return np.asarray(connected_components(graph, directed=False)[1])

    def mean_coordination(self) -> float:
        """Mean number of bonded neighbours."""
        return float((self.ratio < BOND_FACTOR).sum() / self.n_atoms)


class PhysicsLane:
    """Judges the frames of one trajectory against its own start.

    Args:
        settings: limits.
        start: the intact starting structure.
        temperature_K: of the thermostat, or of the velocities that a run without thermostat began with.
        ensemble: ``nve`` where the total energy must be conserved; any other word where a thermostat acts.
        timestep_fs: between two frames whose energy is told.

    Attributes:
        temperature_K: may be set while the trajectory runs (ramps).
    """

    def __init__(
        self,
        settings: PhysicsSettings,
        start: Atoms,
        temperature_K: float,
        *,
        ensemble: str = "langevin",
        timestep_fs: float = 1.0,
    ) -> None:
        self.temperature_K = temperature_K
        self._settings = settings
        self._energy = EnergyWatch(settings, conserved=ensemble == "nve", timestep_fs=timestep_fs)
        bonding = Bonding.of(start)
        self._fragments = bonding.fragments(BOND_FACTOR)
        self._n_fragments = len(np.unique(self._fragments))
        self._coordination = bonding.mean_coordination()
        self._extent = _extent_A3(start)
        # Atoms of one crystal may trade places without anything having dissociated.
        self._molecular = not start.pbc.all() or self._n_fragments > 1
        self._split_before = False

    def state(self) -> dict[str, Any]:
        """What the lane remembers of the trajectory, as plain JSON, for another lane that is to go on from here."""
        return {
            "temperature_K": self.temperature_K,
            "split_before": self._split_before,
            "energy": self._energy.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where the lane that gave ``state()`` was."""
        self.temperature_K = float(state["temperature_K"])
        self._split_before = bool(state["split_before"])
        self._energy.restore(state["energy"])

    def check(
        self, atoms: Atoms, forces: NDArray[np.float64] | None = None, energy_eV: float | None = None
    ) -> Verdict | None:
        """Return the first thing that is wrong with a frame, or None.

        Args:
            atoms: the frame, with velocities if the temperature is to be judged.
            forces: (n, 3) of the model, eV/Å.
            energy_eV: potential energy of the model; without it the energy is not judged.
        """
        broken = self._non_finite(atoms, forces, energy_eV)
        if broken is not None:
            return broken
        bonding = Bonding.of(atoms)
        return (
            self._contacts(bonding)
            or self._runaway(atoms)
            or self._energy_lost(atoms, energy_eV)
            or self._density(atoms)
            or self._crowding(bonding)
            or self._dissociation(bonding)
        )

    def check_step(self, atoms: Atoms, forces: NDArray[np.float64], energy_eV: float | None = None) -> Verdict | None:
        """The cheap part of ``check``, for every step: finite numbers, temperature and energy.

        Give the energy once for each step, and only together with velocities of the same step.
        """
        return self._non_finite(atoms, forces, energy_eV) or self._runaway(atoms) or self._energy_lost(atoms, energy_eV)

    def _non_finite(self, atoms: Atoms, forces: NDArray[np.float64] | None, energy_eV: float | None) -> Verdict | None:
        told = [np.asarray(value) for value in (forces, energy_eV) if value is not None]
        if all(np.isfinite(array).all() for array in (atoms.positions, atoms.cell.array, atoms.get_momenta(), *told)):
            return None
        return not_computable("non-finite positions, velocities, forces or energy")

    def _energy_lost(self, atoms: Atoms, energy_eV: float | None) -> Verdict | None:
        complaint = None if energy_eV is None else self._energy.complaint(atoms, energy_eV, self.temperature_K)
        return None if complaint is None else _unphysical(complaint)

    def _contacts(self, bonding: Bonding) -> Verdict | None:
        if not bonding.ratio.size:
            return None
        closest = int(np.argmin(bonding.ratio))
        ratio = float(bonding.ratio[closest])
        atoms = (int(bonding.first[closest]), int(bonding.second[closest]))
        reason = f"close contact: {ratio:.2f} of the sum of covalent radii between atoms {atoms[0]} and {atoms[1]}"
        if ratio < self._settings.uncomputable_distance_factor:
            return not_computable(reason, atoms)
        if ratio < self._settings.min_distance_factor:
            return _unphysical(reason, atoms)
        return None

    def _runaway(self, atoms: Atoms) -> Verdict | None:
        temperature_K = atoms.get_temperature()
        limit_K = self._settings.max_temperature_ratio * self.temperature_K
        # A few atoms fluctuate widely (relative width sqrt(2 / 3n)): allow five standard deviations as well.
        limit_K = max(limit_K, self.temperature_K * (1 + 5 * np.sqrt(2 / (3 * len(atoms)))))
        if temperature_K <= limit_K:
            return None
        return _unphysical(
            f"temperature ran away: {temperature_K:.0f} K with the thermostat at {self.temperature_K:g} K"
        )

    def _density(self, atoms: Atoms) -> Verdict | None:
        extent = _extent_A3(atoms)
        if self._extent < 1.0 or (not atoms.pbc.all() and self._n_fragments > 1):
            return None
        ratio = extent / self._extent
        if 1 / self._settings.max_volume_ratio <= ratio <= self._settings.max_volume_ratio:
            return None
        if not atoms.pbc.all() and self._settings.allow_dissociation:
            return None
        word = "collapse" if ratio < 1 else "explosion"
        return _unphysical(f"density {word}: volume is {ratio:.2f} of the start's")

    def _crowding(self, bonding: Bonding) -> Verdict | None:
        coordination = bonding.mean_coordination()
        if coordination <= CROWDING_FACTOR * self._coordination + 1.0:
            return None
        return _unphysical(
            f"over-aggregation: {coordination:.1f} bonded neighbours on average, {self._coordination:.1f} at the start"
        )

    def _dissociation(self, bonding: Bonding) -> Verdict | None:
        if not self._molecular or self._settings.allow_dissociation:
            return None
        now = bonding.fragments(BROKEN_FACTOR)
        lost = np.zeros(bonding.n_atoms, dtype=bool)
        for fragment in np.unique(self._fragments):
            members = np.flatnonzero(self._fragments == fragment)
            lost[members] = now[members] != np.bincount(now[members]).argmax()
        split, self._split_before = self._split_before, bool(lost.any())
        if not (split and lost.any()):  # a fragment must stay split from one check to the next
            return None
        atoms = tuple(int(i) for i in np.flatnonzero(lost))
        return _unphysical(f"abnormal dissociation: atoms {list(atoms)[:8]} left their molecule", atoms)


def _extent_A3(atoms: Atoms) -> float:
    """Volume of a periodic cell, or the cube of a molecule's radius of gyration, Å³."""
    if atoms.pbc.all():
        return float(atoms.get_volume())
    centred = atoms.positions - atoms.positions.mean(axis=0)
    return float(np.mean(np.sum(centred**2, axis=1)) ** 1.5)


def not_computable(reason: str, atoms: tuple[int, ...] = ()) -> Verdict:
    """The verdict on a frame that nobody should be asked about."""
    return Verdict(VerdictKind.DISCARD, Lane.PHYSICS, f"not computable: {reason}", atoms, stop=True)


def _unphysical(reason: str, atoms: tuple[int, ...] = ()) -> Verdict:
    return Verdict(VerdictKind.SUSPECT, Lane.PHYSICS, reason, atoms, stop=True)
