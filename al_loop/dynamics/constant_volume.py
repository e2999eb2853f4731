"""Dynamics of one replica at constant volume: NVE, and NVT with Langevin's or Bussi's thermostat."""

import numpy as np
from ase import Atoms, units

from al_loop.dynamics.propagator import Array, Replica
from al_loop.frames.constraints.motion import md_forces, redistribute_noise
from al_loop.frames.constraints.policy import degrees_of_freedom


class LangevinReplica(Replica):
    """The propagator of ``ase.md.langevin.Langevin`` in two halves, before and after the force evaluation.

    E. Vanden-Eijnden and G. Ciccotti, Chem. Phys. Lett. 429, 310 (2006), equation 23. With the same generator
    and forces it gives ASE's trajectory.
    """

    memory = ("_velocities", "_random_velocity")

    def __init__(
        self,
        atoms: Atoms,
        temperature_K: float,
        timestep_fs: float,
        friction_per_ps: float,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(atoms, temperature_K, rng)
        self._dt = timestep_fs * units.fs
        self._friction = friction_per_ps / (1e3 * units.fs)
        self._masses = atoms.get_masses()[:, None]
        self._velocities: Array = atoms.get_velocities()
        self._random_velocity: Array = np.zeros_like(self._velocities)
        self._c1 = self._dt / 2 - self._dt**2 * self._friction / 8
        self._c2 = self._dt * self._friction / 2 - self._dt**2 * self._friction**2 / 8
        self.set_temperature(temperature_K)

    def set_temperature(self, temperature_K: float) -> None:
        """Set the temperature of the thermostat."""
        sigma = np.sqrt(2 * units.kB * temperature_K * self._friction / self._masses)
        self._c3 = np.sqrt(self._dt) * sigma / 2 - self._dt**1.5 * self._friction * sigma / 8
        self._c5 = self._dt**1.5 * sigma / (2 * np.sqrt(3))
        self._c4 = self._friction / 2 * self._c5

    def move(self, forces: Array) -> None:
        """Half a kick with the forces at the old positions, then the move."""
        xi = self.rng.standard_normal(self._velocities.shape)
        eta = self.rng.standard_normal(self._velocities.shape)
        redistribute_noise(self.atoms, xi, eta)
        self._random_velocity = self._c3 * xi - self._c4 * eta
        self._kick(forces)
        displacement = self._dt * self._velocities + self._c5 * eta
        if not self.atoms.constraints:
            self.atoms.positions += displacement
            return
        before = self.atoms.get_positions()
        self.atoms.set_positions(before + displacement)
        self._velocities = (self.atoms.get_positions() - before - self._c5 * eta) / self._dt

    def finish(self, forces: Array, stress: Array | None = None) -> None:  # noqa: ARG002
        """Half a kick with the forces at the new positions."""
        self._kick(forces)
        self.atoms.set_velocities(self._velocities)
        if self.atoms.constraints:
            self._velocities = self.atoms.get_velocities()

    def _kick(self, forces: Array) -> None:
        forces = md_forces(self.atoms, forces)
        self._velocities += self._c1 * forces / self._masses - self._c2 * self._velocities + self._random_velocity


class VerletReplica(Replica):
    """Velocity Verlet, as ``ase.md.verlet.VelocityVerlet``: the total energy is conserved."""

    def __init__(self, atoms: Atoms, temperature_K: float, timestep_fs: float, rng: np.random.Generator) -> None:
        super().__init__(atoms, temperature_K, rng)
        self._dt = timestep_fs * units.fs
        self._masses = atoms.get_masses()[:, None]

    def move(self, forces: Array) -> None:
        """Half a kick with the forces at the old positions, then the move."""
        momenta = self.atoms.get_momenta() + 0.5 * self._dt * md_forces(self.atoms, forces)
        if not self.atoms.constraints:
            self.atoms.positions += self._dt * momenta / self._masses
        else:
            before = self.atoms.get_positions()
            self.atoms.set_positions(before + self._dt * momenta / self._masses)
            momenta = (self.atoms.get_positions() - before) * self._masses / self._dt
        self.atoms.set_momenta(momenta, apply_constraint=False)

    def finish(self, forces: Array, stress: Array | None = None) -> None:  # noqa: ARG002
        """Half a kick with the forces at the new positions."""
        self.atoms.set_momenta(self.atoms.get_momenta() + 0.5 * self._dt * md_forces(self.atoms, forces))


class BussiReplica(VerletReplica):
    """Velocity Verlet with stochastic velocity rescaling, as ``ase.md.bussi.Bussi``.

    G. Bussi, D. Donadio and M. Parrinello, J. Chem. Phys. 126, 014101 (2007), equation A7. It disturbs the dynamics
    least of all thermostats here, but acts on the total kinetic energy only: unsuitable for a gas of few molecules.
    """

    def __init__(
        self, atoms: Atoms, temperature_K: float, timestep_fs: float, relaxation_fs: float, rng: np.random.Generator
    ) -> None:
        super().__init__(atoms, temperature_K, timestep_fs, rng)
        self._freedom = degrees_of_freedom(atoms)
        self._kept = float(np.exp(-timestep_fs / relaxation_fs))
        self.set_temperature(temperature_K)

    def set_temperature(self, temperature_K: float) -> None:
        """Set the temperature of the thermostat."""
        self._target_eV = 0.5 * units.kB * temperature_K * self._freedom

    def move(self, forces: Array) -> None:
        """Rescale the velocities, then half a kick and the move."""
        self.atoms.set_momenta(self._scale() * self.atoms.get_momenta())
        super().move(forces)

    def _scale(self) -> float:
        kinetic_eV = float(self.atoms.get_kinetic_energy())
        normal = self.rng.standard_normal()
        others = 2.0 * self.rng.standard_gamma(0.5 * (self._freedom - 1))  # squares of the other normals, summed
        if kinetic_eV <= 0:  # a single atom at rest: nothing to rescale
            return 1.0
        share = (1 - self._kept) * self._target_eV / kinetic_eV / self._freedom
        return float(np.sqrt(self._kept + share * (others + normal**2) + 2 * normal * np.sqrt(self._kept * share)))
