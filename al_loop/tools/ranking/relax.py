"""Relax structures with the committee until they are unphysical or done, predict them, and gate the predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE, LBFGS

from al_loop.config import PhysicsSettings
from al_loop.errors import InputError
from al_loop.gate.gate import Gate, GatedPrediction
from al_loop.gate.physics import PhysicsCheck, not_computable
from al_loop.gate.watched_relaxation import (
    COLD_K,
    BrokenStructureError,
    movable_copy,
    run_watched,
    without_calculator,
)
from al_loop.tools.ranking.settings import RelaxOptions
from committee.calculator import CommitteeCalculator
from committee.errors import RefusedFrameError, StructureError
from committee.potential import CommitteePotential
from committee.prediction import Prediction
from committee.structures import check_structures
from dft_interfaces.bounds import structure_excess

OPTIMIZERS: dict[str, Any] = {"fire": FIRE, "lbfgs": LBFGS}


def check_trained(potential: CommitteePotential) -> None:
    """Raise for a committee whose members are identical: its uncertainty would be zero everywhere.

    Raises:
        InputError: it was never trained and has no priors.
    """
    if potential.provenance.training_frames == 0 and potential.settings.prior_scale_eV == 0:
        raise InputError("all members of this committee agree exactly, so it was never trained; train it first")


def gated_predictions(
    frames: Sequence[Atoms],
    references: Sequence[Atoms],
    potential: CommitteePotential,
    physics: PhysicsSettings,
) -> list[GatedPrediction]:
    """Predict and gate structures, each against its reference; a failed prediction does not stop the others.

    Without calibration every physical structure is suspect.
    """
    gate = Gate(potential.calibration)
    beyond = [structure_excess(atoms) for atoms in frames]
    within = [atoms for atoms, excess in zip(frames, beyond, strict=True) if not excess]
    predictions = iter(potential.predict_each(within, "exact"))
    return [
        GatedPrediction.without(not_computable(excess))
        if excess
        else _judged(gate, physics, reference, atoms, next(predictions))
        for atoms, reference, excess in zip(frames, references, beyond, strict=True)
    ]


def _judged(
    gate: Gate, physics: PhysicsSettings, reference: Atoms, atoms: Atoms, prediction: Prediction | RefusedFrameError
) -> GatedPrediction:
    if isinstance(prediction, RefusedFrameError):
        return GatedPrediction.without(not_computable(prediction.reason))
    if not (np.isfinite(prediction.energy) and np.isfinite(prediction.energy_ensemble).all()):
        return GatedPrediction.without(not_computable("the model's energy is not finite"))
    return gate.evaluate(prediction, PhysicsCheck(physics, reference, COLD_K).check(atoms, prediction.forces))


@dataclass(frozen=True)
class Relaxation:
    """The last physical structure of a relaxation, with its constraints and without calculator.

    ``max_force_eV_per_A`` is the largest force on a free atom, NaN if the model failed; ``broken`` the reason of a
    failure.
    """

    atoms: Atoms
    steps: int
    max_force_eV_per_A: float
    converged: bool
    broken: str = ""


def relaxed(start: Atoms, potential: CommitteePotential, options: RelaxOptions, physics: PhysicsSettings) -> Relaxation:
    """Relax a copy of a structure, with its constraints, until it is done or unphysical compared with the start.

    Raises:
        InputError: constraints that cannot be followed.
    """
    if excess := structure_excess(start):
        return Relaxation(without_calculator(start, start), 0, float("nan"), converged=False, broken=excess)
    try:
        check_structures([start], potential.backbone.elements)
    except StructureError as error:
        return Relaxation(without_calculator(start, start), 0, float("nan"), converged=False, broken=error.reason)
    atoms = movable_copy(start, cell=options.cell)
    atoms.calc = CommitteeCalculator(potential)
    optimizer: Any = None
    try:
        moving = FrechetCellFilter(atoms) if options.cell else atoms
        optimizer = OPTIMIZERS[options.optimizer](moving, logfile=None)
        tolerance = options.force_tolerance_eV_per_A
        physics_check = PhysicsCheck(physics, start, COLD_K)
        converged = run_watched(
            optimizer, atoms, physics_check, force_tolerance_eV_per_A=tolerance, steps=options.steps, judge_energy=False
        )
    except (BrokenStructureError, RefusedFrameError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not start.constraints:
            raise  # of another origin than a constraint that cannot be satisfied any more
        steps = 0 if optimizer is None else optimizer.nsteps
        reason = error.reason if isinstance(error, StructureError) else str(error)
        return Relaxation(without_calculator(atoms, start), steps, float("nan"), converged=False, broken=reason)
    largest = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    return Relaxation(without_calculator(atoms, start), optimizer.nsteps, largest, converged)
