"""Predictions of the committee for single structures, with the gate's verdicts."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from al_loop.config import PhysicsSettings
from al_loop.errors import InputError
from al_loop.gate.gate import Gate, GatedPrediction
from al_loop.gate.physics import PhysicsCheck, not_computable
from al_loop.gate.watched_relaxation import COLD_K
from committee.errors import RefusedFrameError
from committee.potential import CommitteePotential
from committee.prediction import Prediction
from dft_interfaces.bounds import structure_excess


def check_trained(potential: CommitteePotential) -> None:
    """Raise for a committee whose members are identical: its uncertainty would be zero everywhere.

    Raises:
        InputError: it was never trained and has no priors.
    """
    if potential.provenance.training_frames == 0 and potential.settings.prior_scale_eV == 0:
        raise InputError("all members of this committee agree exactly, so it was never trained; train it first")


def judge_all(
    frames: Sequence[Atoms],
    references: Sequence[Atoms],
    potential: CommitteePotential,
    physics: PhysicsSettings,
) -> list[GatedPrediction]:
    """Predict and gate structures; a failed prediction does not stop the others.

    Args:
        frames: the structures.
        references: for each the structure that the physics check compares it with.
        potential: the committee; without calibration every sound structure is suspect.
        physics: limits of the physics check.
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
