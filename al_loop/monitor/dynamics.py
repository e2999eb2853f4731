"""The explorer's propagators as an ASE dynamics, so that a monitor and ASE's own observers attach to them."""

import numpy as np
from ase import Atoms, units
from ase.md.md import MolecularDynamics

from al_loop.config import ExploreSettings
from al_loop.config.ensembles import Ensemble
from al_loop.errors import InputError
from al_loop.explore.replicas import make_replica


class ReplicaDynamics(MolecularDynamics):
    """Molecular dynamics of one structure, as the campaign explores.

    Args:
        atoms: with its calculator; moved in place. Velocities are drawn if it has none.
        settings: ensemble, first temperature, time step, thermostats, barostat.
        seed: of the dynamics' own generator.

    Attributes:
        temperature_K: of the thermostat, or of the first velocities.
        conserves_energy: no thermostat acts.

    Raises:
        InputError: a relaxation, which is no dynamics, npt of a structure that is not periodic in three directions, or
            constraints.
    """

    def __init__(self, atoms: Atoms, settings: ExploreSettings, seed: int) -> None:
        ensemble: Ensemble = settings.ensemble
        if ensemble == "relax":
            raise InputError("--ensemble relax is no dynamics; choose langevin, bussi, npt or nve")
        if ensemble == "npt" and not atoms.pbc.all():
            raise InputError("--ensemble npt needs a cell that is periodic in three directions; choose langevin")
        if atoms.constraints:
            raise InputError(
                "the structure has constraints, which these dynamics do not follow; remove them, or attach "
                "ReliabilityMonitor to a dynamics of ASE's in a script of your own"
            )
        self.temperature_K = settings.temperatures_K[0]
        self.conserves_energy = ensemble == "nve"
        rng = np.random.default_rng(seed)
        self._replica = make_replica(ensemble, atoms, self.temperature_K, settings, rng)
        super().__init__(atoms, settings.timestep_fs * units.fs)

    def step(self) -> None:
        """One step."""
        if self.nsteps == 0:
            self._replica.begin(self.atoms.get_forces(), self._stress())
        self._replica.move(self.atoms.get_forces())
        self._replica.finish(self.atoms.get_forces(), self._stress())

    def _stress(self) -> np.ndarray | None:
        if not self._replica.needs_stress:
            return None
        return np.asarray(self.atoms.get_stress())
