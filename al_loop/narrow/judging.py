"""What the committee says of single structures, and whether the gate lets it be believed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from al_loop.config import PhysicsSettings
from al_loop.errors import InputError
from al_loop.gate.gate import Gate
from al_loop.gate.physics import PhysicsLane, not_computable
from al_loop.narrow.relaxing import COLD_K
from al_loop.records import Lane, Verdict, VerdictKind
from committee.errors import RefusedFrameError
from committee.potential import CommitteePotential
from committee.prediction import Prediction


@dataclass(frozen=True)
class Judged:
    """A structure with the committee's answer and the gate's word on it.

    Attributes:
        prediction: mode ``exact``; None where the model gave no finite answer.
        verdict: of the gate.
    """

    prediction: Prediction | None
    verdict: Verdict

    @property
    def sound(self) -> bool:
        """It has an energy, and the physics lane has nothing against it."""
        return self.prediction is not None and self.verdict.lane is not Lane.PHYSICS

    @property
    def trusted(self) -> bool:
        """The gate trusts the model here."""
        return self.verdict.kind is VerdictKind.TRUSTED


def check_trained(potential: CommitteePotential) -> None:
    """Refuse a committee whose members cannot differ: its uncertainty would be zero everywhere.

    Raises:
        InputError: it was never trained and has no priors.
    """
    if potential.provenance.training_frames == 0 and potential.settings.prior_scale_eV == 0:
        raise InputError("the members of this committee agree in everything: it was never trained; train it first")


def judge_all(
    frames: Sequence[Atoms],
    references: Sequence[Atoms],
    potential: CommitteePotential,
    physics: PhysicsSettings,
) -> list[Judged]:
    """Predict and judge structures; one that the model cannot answer for does not stop the others.

    Args:
        frames: the structures.
        references: for each the structure that the physics lane compares it with.
        potential: the committee; without calibration every sound structure is suspect.
        physics: limits of the physics lane.
    """
    gate = Gate(potential.calibration)
    judged = []
    for atoms, reference, answer in zip(frames, references, potential.predict_each(frames, "exact"), strict=True):
        if isinstance(answer, RefusedFrameError):
            judged.append(Judged(None, not_computable(answer.reason)))
            continue
        if not (np.isfinite(answer.energy) and np.isfinite(answer.energy_ensemble).all()):
            judged.append(Judged(None, not_computable("the model's energy is not finite")))
            continue
        found = PhysicsLane(physics, reference, COLD_K).check(atoms, answer.forces)
        verdict = gate.judge(found, answer.atomic_force_uncertainty, answer.latent_distance)
        judged.append(Judged(answer, verdict))
    return judged
