"""Promotion by a short run without a thermostat: the total energy is conserved as under the foundation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from al_loop.dynamics.constant_volume import VerletReplica
from al_loop.frames.constraints.motion import draw_velocities, restraint_energy_eV
from al_loop.frames.constraints.policy import Motion, refusal
from al_loop.stages.promote.criterion import Criterion
from committee.errors import RefusedFrameError
from committee.potential import CommitteePotential
from committee.prediction import Prediction

NAME = "energy conserved"
LEAST_FLUCTUATION_kT = 0.01

Array = NDArray[np.float64]


@dataclass(frozen=True)
class EnergyConservation:
    """Drift and fluctuation of the total energy of runs at constant energy.

    Attributes:
        drift: largest absolute slope of a run, eV/atom/ps.
        fluctuation: largest standard deviation about that slope, eV/atom.
    """

    drift: float
    fluctuation: float

    @classmethod
    def of(cls, energies: Array, timestep_fs: float) -> "EnergyConservation":
        """Measure drift and fluctuation of runs.

        ``energies`` (steps + 1, replicas) are total energies per atom in eV, NaN from where a run broke.
        """
        if not np.isfinite(energies).all():
            return cls(np.inf, np.inf)
        time_ps = np.arange(len(energies)) * timestep_fs / 1000
        above = energies - energies[0]
        slope, start = np.polyfit(time_ps, above, 1)
        residual = above - (slope * time_ps[:, None] + start)
        return cls(float(np.abs(slope).max()), float(residual.std(axis=0).max()))


@dataclass(frozen=True)
class ConstantEnergyRun:
    """A short run at constant energy, with the foundation's total energies in it.

    ``foundation`` (steps + 1, replicas) are total energies per atom in eV; the replicas have velocities.
    """

    replicas: tuple[Atoms, ...]
    temperature_K: float
    timestep_fs: float
    foundation: Array


def conserves_energy(candidate: CommitteePotential, run: ConstantEnergyRun, max_ratio: float) -> Criterion:
    """Check that drift and fluctuation of the total energy are at most ``max_ratio`` times the foundation's own.

    A run of some dozens of steps does not distinguish a drift from the oscillation due to the time step: the limit of
    the drift is at least what the allowed fluctuation could cause, that of the fluctuation at least 0.01 kT.
    """
    before = EnergyConservation.of(run.foundation, run.timestep_fs)
    steps = len(run.foundation) - 1
    if not np.isfinite(before.fluctuation):
        return Criterion(NAME, True, None, None, "the foundation itself cannot run from the starting structures")
    now = EnergyConservation.of(total_energies(candidate, run.replicas, run.timestep_fs, steps), run.timestep_fs)
    fluctuation = max(max_ratio * before.fluctuation, LEAST_FLUCTUATION_kT * units.kB * run.temperature_K)
    drift = max(max_ratio * before.drift, fluctuation / (steps * run.timestep_fs / 1000))
    passed = bool(now.fluctuation <= fluctuation and now.drift <= drift)
    if not np.isfinite(now.fluctuation):
        sentence = f"the run of {steps} steps of {run.timestep_fs:g} fs broke; under the foundation it did not"
        return Criterion(NAME, False, None, fluctuation, sentence)
    sentence = (
        f"total energy fluctuates by {1000 * now.fluctuation:.3g} meV/atom (at most {1000 * fluctuation:.3g}) and "
        f"drifts by {now.drift:.2g} eV/atom/ps (at most {drift:.2g}) over {steps} steps of {run.timestep_fs:g} fs; "
        f"the foundation {1000 * before.fluctuation:.3g} and {before.drift:.2g}"
    )
    return Criterion(NAME, passed, now.fluctuation, fluctuation, sentence)


def start_replicas(structures: Sequence[Atoms], temperature_K: float, rng: np.random.Generator) -> list[Atoms]:
    """Return copies of structures with velocities; constrained atoms stay at rest.

    A structure whose constraints leave nothing to move before its variants are built (a slab of fixed atoms, for an
    adsorbate) runs without them: only the model's forces are of interest here.
    """
    replicas = []
    for structure in structures:
        atoms = structure.copy()
        if refusal(atoms, Motion.DYNAMICS) is not None:
            atoms.set_constraint()
        draw_velocities(atoms, temperature_K, rng)
        replicas.append(atoms)
    return replicas


def total_energies(potential: CommitteePotential, replicas: Sequence[Atoms], timestep_fs: float, steps: int) -> Array:
    """Run velocity Verlet for all replicas in lockstep, with one batched evaluation per step.

    Returns:
        (steps + 1, replicas) potential plus kinetic energy per atom, eV; NaN from the first step that failed.
    """
    unused_rng = np.random.default_rng(0)  # velocities exist: nothing is drawn
    runs = [VerletReplica(atoms.copy(), 0.0, timestep_fs, unused_rng) for atoms in replicas]
    energies = np.full((steps + 1, len(runs)), np.nan)
    predictions: list[Prediction] = []
    for step in range(steps + 1):
        try:
            for run, prediction in zip(runs, predictions, strict=bool(step)):
                run.move(prediction.forces)
            predictions = potential.predict([run.atoms for run in runs], "energy")
            for run, prediction in zip(runs, predictions, strict=True):
                if step:
                    run.finish(prediction.forces)
        except (RefusedFrameError, RuntimeError):  # the run broke: the rest stays NaN
            break
        energies[step] = [
            (prediction.energy + restraint_energy_eV(run.atoms) + run.atoms.get_kinetic_energy()) / len(run.atoms)
            for run, prediction in zip(runs, predictions, strict=True)
        ]
    return energies
