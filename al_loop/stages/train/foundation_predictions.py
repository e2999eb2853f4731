"""Predictions of the foundation for labelled frames, without features and their derivatives."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from committee.backbones.contract import Backbone


@dataclass(frozen=True)
class FoundationPrediction:
    """The foundation's prediction for one frame of n atoms.

    Attributes:
        energy: () eV.
        forces: (n, 3) eV/Å.
        stress: (6,) eV/Å³, Voigt xx yy zz yz xz xy; NaN unless periodic in three directions.
        volume: () Å³; NaN unless periodic in three directions.
    """

    energy: NDArray[np.float64]
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]
    volume: NDArray[np.float64]


def foundation_predictions(backbone: Backbone, frames: Sequence[Atoms]) -> list[FoundationPrediction]:
    """Evaluate the foundation, one frame after another."""
    return [_predicted(backbone, atoms) for atoms in frames]


def _predicted(backbone: Backbone, atoms: Atoms) -> FoundationPrediction:
    evaluation = backbone.evaluate([atoms])
    forces, stress = (part.detach().cpu().numpy().astype(np.float64) for part in evaluation.foundation())
    return FoundationPrediction(
        evaluation.energy[0].detach().cpu().numpy().astype(np.float64),
        forces,
        full_3x3_to_voigt_6_stress(stress[0]),
        evaluation.volumes[0].detach().cpu().numpy().astype(np.float64),
    )
