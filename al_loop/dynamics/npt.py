"""Dynamics at constant temperature and pressure (NPT) of one replica; the cell keeps its shape."""

import numpy as np
from ase import Atoms, units
from ase.stress import voigt_6_to_full_3x3_stress

from al_loop.dynamics.propagator import Array, Replica
from al_loop.frames.constraints.policy import Motion

BARE_PERIOD_FS = 1.66  # ASE's heuristic: period of a cell of unit mass that holds one atom
PERIODS = 4.0  # of the cell in one relaxation time of the barostat
FASTEST = 0.5  # maximum of the logarithm of a cell's growth in half a step, so that all numbers stay finite


class NPTReplica(Replica):
    """Langevin dynamics of atoms and volume, as ``ase.md.langevinbaoab.LangevinBAOAB(hydrostatic=True)``.

    D. Quigley and M. Probert, J. Chem. Phys. 120, 11432 (2004), propagated in the order BAOAB of B. Leimkuhler and C.
    Matthews, J. Chem. Phys. 138, 174102 (2013). It samples the volume fluctuations of this ensemble, unlike Berendsen's
    barostat. ``barostat_fs`` is the relaxation time of the volume, which also sets the cell's mass; the pressure has a
    kinetic part.
    """

    memory = ("_cell_momentum", "_cell_force")
    needs_stress = True
    motion = Motion.CELL

    def __init__(
        self,
        atoms: Atoms,
        temperature_K: float,
        pressure_GPa: float,
        timestep_fs: float,
        friction_per_ps: float,
        barostat_fs: float,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(atoms, temperature_K, rng)
        self._dt = timestep_fs * units.fs
        self._friction = friction_per_ps / (1e3 * units.fs)
        self._cell_friction = 1 / (barostat_fs * units.fs)
        self._masses = atoms.get_masses()[:, None]
        self._freedom = 3 * len(atoms)
        self._cell_mass = (barostat_fs / PERIODS / BARE_PERIOD_FS * len(atoms) ** (1 / 6)) ** 2
        self._cell_momentum = 0.0
        self._cell_force = 0.0
        self.set_temperature(temperature_K)
        self.set_pressure(pressure_GPa)

    def set_temperature(self, temperature_K: float) -> None:
        """Set the temperature of both thermostats."""
        energy = units.kB * temperature_K
        self._noise = np.sqrt(energy * (1 - np.exp(-2 * self._friction * self._dt)) / self._masses)
        self._cell_noise = np.sqrt(energy * (1 - np.exp(-2 * self._cell_friction * self._dt)) * self._cell_mass)

    def set_pressure(self, pressure_GPa: float) -> None:
        """Set the pressure of the barostat."""
        self._pressure = pressure_GPa * units.GPa

    def begin(self, forces: Array, stress: Array | None) -> None:  # noqa: ARG002
        """Store the force on the volume at the start."""
        self._cell_force = self._force_on_cell(stress)

    def move(self, forces: Array) -> None:
        """Half a kick, half a drift, friction and noise, half a drift (BAOAB), for atoms and cell."""
        self._cell_momentum += 0.5 * self._dt * self._cell_force
        self._kick(forces)
        self._scale_cell()
        self.atoms.positions += 0.5 * self._dt * self.atoms.get_velocities()
        drag = (1 + 3 / self._freedom) * self._cell_momentum / self._cell_mass
        velocities = self.atoms.get_velocities() * np.exp(-(self._friction + drag) * self._dt)
        self.atoms.set_velocities(velocities + self._noise * self.rng.normal(size=velocities.shape))
        self._cell_momentum *= np.exp(-self._cell_friction * self._dt)
        self._cell_momentum += self._cell_noise * self.rng.normal()
        self.atoms.positions += 0.5 * self._dt * self.atoms.get_velocities()
        self._scale_cell()

    def finish(self, forces: Array, stress: Array | None = None) -> None:
        """Half a kick of atoms and cell at the new positions."""
        self._cell_force = self._force_on_cell(stress)
        self._kick(forces)
        self._cell_momentum += 0.5 * self._dt * self._cell_force

    def _kick(self, forces: Array) -> None:
        self.atoms.set_velocities(self.atoms.get_velocities() + 0.5 * self._dt * forces / self._masses)

    def _scale_cell(self) -> None:
        growth = np.exp(np.clip(0.5 * self._dt * self._cell_momentum / self._cell_mass, -FASTEST, FASTEST))
        self.atoms.set_cell(self.atoms.cell.array * growth, scale_atoms=True)

    def _force_on_cell(self, stress: Array | None) -> float:
        if stress is None:
            raise ValueError("NPT needs the stress of each step, received none")
        volume = self.atoms.get_volume()
        kinetic = 2 * self.atoms.get_kinetic_energy()
        virial = -volume * np.trace(voigt_6_to_full_3x3_stress(stress))
        return float(kinetic + virial - 3 * volume * self._pressure + 3 / self._freedom * kinetic)
