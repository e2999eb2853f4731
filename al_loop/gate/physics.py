"""The physics check: compares each frame with the start of its trajectory."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from al_loop.config import PhysicsSettings
from al_loop.frames.constraints.policy import degrees_of_freedom, moving_atoms
from al_loop.gate.bonding import Bonding, FragmentWatch
from al_loop.gate.energy import EnergyWatch
from al_loop.records import GateCheck, Verdict, VerdictKind
from dft_interfaces.bounds import density_excess, length_excess

CROWDING_FACTOR = 1.5  # mean number of bonded neighbours against the start
CROWDING_ROOM = 1.0  # added, for gases that have none at the start
FLUCTUATIONS = 5  # standard deviations of the kinetic temperature of a few atoms
FAST_ATOM_KT = 40  # none of 10^9 atoms at temperature T has such a kinetic energy
FAST_ATOM_EV = 5  # more than any reaction gives to a single atom
COOLING_LAG = 0.99  # factor per check by which the highest temperature follows a cooling thermostat
WORST_VOLUME_RATIO = 10.0  # of a cell: beyond this no DFT calculation is attempted
BALL_REACH_A = 1.2  # beyond the covalent radius: neighbouring balls in a liquid or solid leave no gaps
BALL_POINTS = 48  # in each ball


class PhysicsCheck:
    """Checks the frames of one trajectory against its own start.

    Args:
        settings: limits.
        start: the intact starting structure; its constraints define which atoms move, and only these count for
            temperatures and energies.
        temperature_K: of the thermostat, or of the initial velocities of a run without one.
        ensemble: ``nve`` where the total energy must be conserved; any other value where a thermostat acts.
        timestep_fs: between two frames whose energy is given.

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
        self._warmest_K = temperature_K
        self._freedom = max(degrees_of_freedom(start), 1)  # where nothing moves, there is no kinetic energy either
        self._energy = EnergyWatch(
            settings, conserved=ensemble == "nve", timestep_fs=timestep_fs, moving_atoms=max(moving_atoms(start), 1)
        )
        bonding = Bonding.of(start)
        self._fragments = FragmentWatch(start, bonding)
        self._coordination = bonding.coordination()
        self._cell_A3 = _cell_A3(start)
        self._occupied_A3 = occupied_volume_A3(start)

    def state(self) -> dict[str, Any]:
        """The state of the check as plain JSON, from which another one can continue."""
        return {
            "temperature_K": self.temperature_K,
            "warmest_K": self._warmest_K,
            "energy": self._energy.state(),
            "fragments": self._fragments.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state()`` of a check with the same start and settings."""
        self.temperature_K = float(state["temperature_K"])
        self._warmest_K = float(state["warmest_K"])
        self._energy.restore(state["energy"])
        self._fragments.restore(state["fragments"])

    def check(
        self, atoms: Atoms, forces: NDArray[np.float64] | None = None, energy_eV: float | None = None
    ) -> Verdict | None:
        """Return the verdict of the first check that a frame fails, or None.

        The temperature is checked only with velocities, the energy only if it is given.
        """
        broken = self._not_a_structure(atoms, forces, energy_eV)
        if broken is not None:
            return broken
        bonding = Bonding.of(atoms)
        return (
            self._contacts(bonding)
            or self._runaway(atoms)
            or self._energy_lost(atoms, energy_eV)
            or self._cell(atoms)
            or self._crowding(bonding)
            or self._aggregation(bonding)
            or self._dissociation(bonding)
            or self._occupied(atoms)
        )

    def check_step(self, atoms: Atoms, forces: NDArray[np.float64], energy_eV: float | None = None) -> Verdict | None:
        """The cheap part of ``check``, for every step: finite numbers, temperature and energy.

        Pass the energy once for each step, and only together with velocities of the same step.
        """
        return (
            self._not_a_structure(atoms, forces, energy_eV)
            or self._runaway(atoms)
            or self._energy_lost(atoms, energy_eV)
        )

    def _not_a_structure(
        self, atoms: Atoms, forces: NDArray[np.float64] | None, energy_eV: float | None
    ) -> Verdict | None:
        given = [np.asarray(value) for value in (forces, energy_eV) if value is not None]
        if not all(
            np.isfinite(array).all() for array in (atoms.positions, atoms.cell.array, atoms.get_momenta(), *given)
        ):
            return not_computable("non-finite positions, velocities, forces or energy")
        if excess := length_excess(atoms):
            return not_computable(f"the atoms flew apart: {excess}")
        if atoms.pbc.all() and not abs(np.linalg.det(atoms.cell.array)) > 0:
            return not_computable("the cell has no volume")
        if excess := density_excess(atoms):  # such a cell has too many neighbours to search
            return not_computable(f"the cell collapsed: {excess}")
        return None

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
        hottest_K = self._settings.max_temperature_K
        if self.temperature_K > hottest_K:
            return _unphysical(f"the thermostat is at {self.temperature_K:g} K, above the limit of {hottest_K:g} K")
        self._warmest_K = max(self.temperature_K, COOLING_LAG * self._warmest_K)
        temperature_K = 2 * atoms.get_kinetic_energy() / (self._freedom * units.kB)
        # A few degrees of freedom fluctuate widely (relative width sqrt(2 / f)).
        ratio = max(self._settings.max_temperature_ratio, 1 + FLUCTUATIONS * np.sqrt(2 / self._freedom))
        if temperature_K > ratio * self._warmest_K:
            return _unphysical(
                f"temperature ran away: {temperature_K:.0f} K with the thermostat at {self.temperature_K:g} K"
            )
        kinetic = np.sum(atoms.get_momenta() ** 2, axis=1) / (2 * atoms.get_masses())
        fast = np.flatnonzero(kinetic > max(FAST_ATOM_KT * units.kB * self._warmest_K, FAST_ATOM_EV))
        if not fast.size:
            return None
        return _unphysical(f"a kinetic energy of {kinetic.max():.1f} eV on one atom", tuple(int(i) for i in fast))

    def _energy_lost(self, atoms: Atoms, energy_eV: float | None) -> Verdict | None:
        complaint = None if energy_eV is None else self._energy.complaint(atoms, energy_eV, self.temperature_K)
        return None if complaint is None else _unphysical(complaint)

    def _cell(self, atoms: Atoms) -> Verdict | None:
        ratio = _cell_A3(atoms) / self._cell_A3
        if self._within(ratio):
            return None
        reason = f"density {_density_change(ratio)}: volume is {ratio:.2g} of the start's"
        return _unphysical(reason) if 1 / WORST_VOLUME_RATIO <= ratio <= WORST_VOLUME_RATIO else not_computable(reason)

    def _occupied(self, atoms: Atoms) -> Verdict | None:
        """Check the density of the occupied region, which a slab, a cluster or a gas has with any cell."""
        ratio = occupied_volume_A3(atoms) / self._occupied_A3
        if self._within(ratio) or (ratio > 1 and self._settings.allow_dissociation):
            return None
        return _unphysical(f"density {_density_change(ratio)}: the atoms occupy {ratio:.2f} of the start's volume")

    def _within(self, ratio: float) -> bool:
        return 1 / self._settings.max_volume_ratio <= ratio <= self._settings.max_volume_ratio

    def _crowding(self, bonding: Bonding) -> Verdict | None:
        coordination = bonding.coordination()
        now, start = float(coordination.mean()), float(self._coordination.mean())
        if now <= CROWDING_FACTOR * start + CROWDING_ROOM:
            return None
        crowded = coordination > CROWDING_FACTOR * self._coordination + CROWDING_ROOM
        return _unphysical(
            f"over-aggregation: {now:.1f} bonded neighbours on average, {start:.1f} at the start",
            tuple(int(i) for i in np.flatnonzero(crowded)),
        )

    def _aggregation(self, bonding: Bonding) -> Verdict | None:
        merged = () if self._settings.allow_dissociation else self._fragments.merged(bonding)
        if not merged:
            return None
        return _unphysical(f"over-aggregation: the clusters of atoms {list(merged)[:8]} have merged", merged)

    def _dissociation(self, bonding: Bonding) -> Verdict | None:
        lost = () if self._settings.allow_dissociation else self._fragments.split(bonding)
        if not lost:
            return None
        return _unphysical(f"abnormal dissociation: atoms {list(lost)[:8]} left their molecule", lost)


def _cell_A3(atoms: Atoms) -> float:
    """Volume of a cell that is periodic in three directions; 1 for any other, which has none."""
    return float(atoms.get_volume()) if atoms.pbc.all() else 1.0


def _density_change(ratio: float) -> str:
    return "collapse" if ratio < 1 else "explosion"


def not_computable(reason: str, atoms: tuple[int, ...] = ()) -> Verdict:
    """The verdict on a frame that no model or DFT code should calculate."""
    return Verdict(VerdictKind.DISCARD, GateCheck.PHYSICS, f"not computable: {reason}", atoms, stop=True)


def _unphysical(reason: str, atoms: tuple[int, ...] = ()) -> Verdict:
    return Verdict(VerdictKind.SUSPECT, GateCheck.PHYSICS, reason, atoms, stop=True)


def occupied_volume_A3(atoms: Atoms) -> float:
    """Volume of the union of balls of covalent radius + ``BALL_REACH_A`` around the atoms of one cell, Å³.

    A point that c balls share counts 1 / c in each of them, and the points of a ball represent its volume. The result
    is the cell's volume in dense matter and the sum of the balls in a gas, for any periodicity.
    """
    radii = covalent_radii[atoms.numbers] + BALL_REACH_A
    first, second, offset = neighbor_list("ijD", atoms, radii)
    reach = radii[second] ** 2
    share = np.zeros(len(atoms))
    for point in _UNIT_BALL:
        distance = radii[first, None] * point - offset
        inside = np.einsum("px,px->p", distance, distance) < reach
        share += 1 / (1 + np.bincount(first[inside], minlength=len(atoms)))
    return float(4 / 3 * np.pi * radii**3 @ share / BALL_POINTS)


def _unit_ball() -> NDArray[np.float64]:
    """Evenly spread points (BALL_POINTS, 3): a golden spiral with radii in an order that mixes the shells."""
    number = np.arange(BALL_POINTS)
    height = 1 - (2 * number + 1) / BALL_POINTS
    angle = np.pi * (3 - np.sqrt(5)) * number
    around = np.sqrt(1 - height**2)
    sphere = np.stack([around * np.cos(angle), around * np.sin(angle), height], axis=1)
    shells = (0.5 + number * 29 % BALL_POINTS) / BALL_POINTS
    return np.asarray(sphere * shells[:, None] ** (1 / 3))


_UNIT_BALL = _unit_ball()
