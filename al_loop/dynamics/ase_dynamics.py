"""The propagators of exploration as an ASE dynamics, for monitors and ASE's observers."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from ase import Atoms, units
from ase.md.md import MolecularDynamics

from al_loop.config import ExploreSettings
from al_loop.config.explore_settings import Ensemble
from al_loop.dynamics.ensembles import make_replica
from al_loop.errors import GuardStop, InputError
from al_loop.frames.constraints.policy import check_followed, motion_of


class ReplicaDynamics(MolecularDynamics):
    """Molecular dynamics of one structure with the campaign's propagators, constraints included.

    ``atoms`` are moved in place with their calculator, and their constraints become those of ``policy.followed``.
    Velocities are drawn if there are none.

    Raises:
        InputError: the ensemble is a relaxation, or npt for a structure that is not periodic in three directions, or
            it cannot obey the constraints.
    """

    def __init__(self, atoms: Atoms, settings: ExploreSettings, seed: int) -> None:
        ensemble: Ensemble = settings.ensemble
        if ensemble == "relax":
            raise InputError("--ensemble relax is no dynamics; choose langevin, bussi, npt or nve")
        if ensemble == "npt" and not atoms.pbc.all():
            raise InputError("--ensemble npt needs a cell that is periodic in three directions; choose langevin")
        check_followed(atoms, motion_of(ensemble), "the structure", "choose langevin or bussi")
        self.temperature_K = settings.temperatures_K[0]
        self.conserves_energy = ensemble == "nve"
        rng = np.random.default_rng(seed)
        self._replica = make_replica(ensemble, atoms, self.temperature_K, settings, rng)
        super().__init__(atoms, settings.timestep_fs * units.fs)

    def step(self) -> None:
        """One step.

        Raises:
            GuardStop: a constraint cannot be satisfied any more, since the structure has dissociated.
        """
        if self.nsteps == 0:
            self._replica.begin(self._forces(), self._stress())
        before = self._forces()
        with _satisfied():
            self._replica.move(before)
        after, stress = self._forces(), self._stress()
        with _satisfied():
            self._replica.finish(after, stress)

    def _forces(self) -> np.ndarray:
        """Forces of the calculator without constraints, which the replica applies."""
        return np.asarray(self.atoms.get_forces(apply_constraint=False))

    def _stress(self) -> np.ndarray | None:
        if not self._replica.needs_stress:
            return None
        return np.asarray(self.atoms.get_stress())


@contextmanager
def _satisfied() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise GuardStop(
            f"a constraint cannot be satisfied any more ({error}): the structure has dissociated; start from a more "
            "stable one, or with a shorter time step"
        ) from error
