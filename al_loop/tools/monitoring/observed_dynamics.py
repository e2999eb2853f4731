"""Read steps, time and thermostat of an ASE dynamics."""

from typing import Any

from ase import Atoms, units
from ase.filters import Filter
from ase.md.md import MolecularDynamics
from ase.md.melchionna import MelchionnaNPT
from ase.md.verlet import VelocityVerlet

from al_loop.errors import InputError
from al_loop.frames.constraints.motion import temperature_K

ROOM_TEMPERATURE_K = 300.0  # where neither thermostat nor velocities give one


class ObservedDynamics:
    """Atoms, steps, time and thermostat of an ASE dynamics.

    Args:
        dynamics: any of ASE's, or any object with ``atoms``; of a relaxation through a filter the filter's atoms.
        temperature_K: of the thermostat; None to read it off the dynamics.

    Raises:
        InputError: no atoms.
    """

    def __init__(self, dynamics: Any, temperature_K: float | None) -> None:
        atoms = getattr(dynamics, "atoms", None)
        while isinstance(atoms, Filter):
            atoms = atoms.atoms
        if not isinstance(atoms, Atoms):
            raise InputError(
                f"the monitor received {type(dynamics).__name__}, expected the ASE dynamics that it is attached to"
            )
        if temperature_K is not None and not temperature_K > 0:
            raise InputError(f"temperature_K: received {temperature_K}, expected a temperature above 0 K")
        self.atoms = atoms
        self._dynamics = dynamics
        self._temperature_K = temperature_K
        self.conserved = isinstance(dynamics, VelocityVerlet) or getattr(dynamics, "conserves_energy", False)

    @property
    def step(self) -> int:
        """Steps since the dynamics began."""
        return int(getattr(self._dynamics, "nsteps", 0))

    @property
    def time_ps(self) -> float | None:
        """Since the dynamics began; None for a relaxation."""
        timestep = self._timestep_fs()
        return None if timestep is None else self.step * timestep / 1e3

    def between_checks_fs(self, monitor: object) -> float:
        """Time between two calls of an attached monitor."""
        found = [o[1] for o in getattr(self._dynamics, "observers", ()) if o[0] is monitor]
        return float(max([1, *found])) * (self._timestep_fs() or 1.0)

    def temperature_K(self) -> float:
        """Temperature of the thermostat; without one, of the velocities."""
        if self._temperature_K is not None:
            return self._temperature_K
        return self._thermostat_K() or temperature_K(self.atoms) or ROOM_TEMPERATURE_K

    @property
    def follows_thermostat(self) -> bool:
        """Whether the temperature has to be read again at each check, for ramps."""
        return self._temperature_K is None and bool(self._thermostat_K())

    def _thermostat_K(self) -> float | None:
        if isinstance(self._dynamics, MelchionnaNPT):  # an energy under the name that others give kelvins
            return float(self._dynamics.temperature / units.kB)
        holder = getattr(self._dynamics, "_thermostat", self._dynamics)  # a Nosé-Hoover chain has its own object
        for name, unit in (("temperature_K", 1.0), ("_temperature_K", 1.0), ("temperature", 1.0), ("temp", units.kB),
                           ("_kT", units.kB)):  # fmt: skip
            value = getattr(self._dynamics, name, getattr(holder, name, None))
            if isinstance(value, int | float) and value > 0:
                return float(value) / unit
        return None

    def _timestep_fs(self) -> float | None:
        if not isinstance(self._dynamics, MolecularDynamics):
            return None
        return float(self._dynamics.dt / units.fs)
