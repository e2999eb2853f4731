"""Dynamics at constant energy (NVE), and with Bussi's thermostat (NVT)."""

import numpy as np
from ase import Atoms, units

from al_loop.dynamics.propagator import Array, Replica
from al_loop.frames.constraints.motion import md_forces
from al_loop.frames.constraints.policy import degrees_of_freedom


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
