"""The propagator of each ensemble, and ramps of temperature and pressure."""

from collections.abc import Callable

import numpy as np
from ase import Atoms

from al_loop.config import ExploreSettings
from al_loop.config.explore_settings import Ensemble
from al_loop.dynamics.constant_volume import BussiReplica, LangevinReplica, VerletReplica
from al_loop.dynamics.fire import RelaxingReplica
from al_loop.dynamics.npt import NPTReplica
from al_loop.dynamics.propagator import Replica


def make_replica(
    ensemble: Ensemble, atoms: Atoms, temperature_K: float, settings: ExploreSettings, rng: np.random.Generator
) -> Replica:
    """Return the propagator of an ensemble."""
    step_fs, friction = settings.timestep_fs, settings.friction_per_ps
    makers: dict[Ensemble, Callable[[], Replica]] = {
        "nve": lambda: VerletReplica(atoms, temperature_K, step_fs, rng),
        "langevin": lambda: LangevinReplica(atoms, temperature_K, step_fs, friction, rng),
        "bussi": lambda: BussiReplica(atoms, temperature_K, step_fs, settings.bussi_relaxation_fs, rng),
        "npt": lambda: NPTReplica(
            atoms, temperature_K, settings.pressure_GPa, step_fs, friction, settings.barostat_relaxation_fs, rng
        ),
        "relax": lambda: RelaxingReplica(atoms, rng, settings.pressure_GPa if settings.relax_cell else None),
    }
    return makers[ensemble]()


def ramp(first: float, last: float | None, step: int, steps: int) -> float:
    """Value at a step of a linear ramp over all steps; the first value if there is no last one."""
    return first if last is None else first + (last - first) * step / steps
