"""Detect energies of a trajectory that diverge or drift away from those of its start."""

from collections.abc import Mapping
from typing import Any

from ase import Atoms, units

from al_loop.config import PhysicsSettings
from al_loop.frames.constraints.motion import restraint_energy_eV

KINETIC_SHARE = 3.0  # kT per atom that heating to the thermostat's temperature and melting may add
FLUCTUATION = 0.1  # of kT per atom: five times the total energy fluctuation measured in healthy NVE runs


class EnergyWatch:
    """Compares the energies of one trajectory with its first one.

    The total energy is checked only if it must be ``conserved`` (NVE). ``moving_atoms`` share the kinetic energy.
    """

    def __init__(self, settings: PhysicsSettings, *, conserved: bool, timestep_fs: float, moving_atoms: int) -> None:
        self._settings = settings
        self._moving_atoms = moving_atoms
        self._conserved = conserved
        self._timestep_ps = timestep_fs / 1e3
        self._first_potential: float | None = None
        self._first_total = 0.0
        self._warmest_K = 0.0
        self._count = 0

    def state(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "first_potential": self._first_potential,
            "first_total": self._first_total,
            "warmest_K": self._warmest_K,
            "frames": self._count,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state()``."""
        first = state["first_potential"]
        self._first_potential = None if first is None else float(first)
        self._first_total, self._count = float(state["first_total"]), int(state["frames"])
        self._warmest_K = float(state["warmest_K"])

    def complaint(self, atoms: Atoms, energy_eV: float, temperature_K: float) -> str | None:
        """Return what is wrong with the energy, or None.

        The frame has velocities of the same time. The energy of restraints (``Hookean``) is added to ``energy_eV``.
        """
        energy_eV += restraint_energy_eV(atoms)
        total = energy_eV + float(atoms.get_kinetic_energy())
        if self._first_potential is None:
            self._first_potential, self._first_total = energy_eV, total
        time_ps = self._count * self._timestep_ps
        self._count += 1
        self._warmest_K = max(self._warmest_K, temperature_K)
        kT = units.kB * self._warmest_K
        change = (energy_eV - self._first_potential) / self._moving_atoms
        if abs(change) > self._settings.max_energy_change_eV_per_atom + KINETIC_SHARE * kT:
            return f"energy diverged: {change:+.2f} eV/atom against the start"
        drift = (total - self._first_total) / self._moving_atoms
        allowed = FLUCTUATION * kT + self._settings.max_nve_drift_eV_per_atom_ps * time_ps
        if self._conserved and abs(drift) > allowed:
            return f"the total energy of an NVE run drifted by {1e3 * drift:+.1f} meV/atom in {time_ps:.2f} ps"
        return None
