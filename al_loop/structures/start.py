"""The start of one trajectory."""

from dataclasses import dataclass

from ase import Atoms

from al_loop.config.explore_settings import Ensemble
from al_loop.records import Role


@dataclass(frozen=True)
class Start:
    """The start of one trajectory.

    Attributes:
        system: name of the starting structure.
        trajectory: unique name within a round and role.
        role: of its frames.
        atoms: displaced starting positions, ``charge`` and ``spin`` in ``atoms.info``.
        intact: the same structure before displacement, the reference of the physics check.
        temperature_K: of the thermostat at the start; 0 for a relaxation.
        seed: entropy of the trajectory's own random generator.
        ensemble: of the dynamics; None for ``explore.ensemble``.
    """

    system: str
    trajectory: str
    role: Role
    atoms: Atoms
    intact: Atoms
    temperature_K: float
    seed: tuple[int, ...]
    ensemble: Ensemble | None = None
