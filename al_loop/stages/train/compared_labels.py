"""Labels paired with predictions of a committee or a foundation, and statistics that their checks share."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from al_loop.records import LabelledFrame
from committee.backbones.contract import Backbone
from committee.checks.compared_labels import ComparedLabel
from committee.model.tangents import Tangents
from committee.potential import CommitteePotential
from committee.training.train import TrainingFrame

Array = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826  # standard deviation over median absolute deviation, for a normal distribution


def compared_with(model: CommitteePotential, frames: Sequence[LabelledFrame]) -> list[ComparedLabel]:
    """Pair converged labels, each with energy and forces, with a model's predictions."""
    predictions = model.predict([frame.atoms for frame in frames], "energy")
    return [
        ComparedLabel(f.atoms, f.energy_eV, f.forces_eV_per_A, f.label.stress_eV_per_A3, p.energy, p.forces, p.stress)
        for f, p in zip(frames, predictions, strict=True)
    ]


def compared_with_foundation(backbone: Backbone, frames: Sequence[TrainingFrame]) -> list[ComparedLabel]:
    """Pair labels, which may lack parts, with the foundation's predictions, one frame after another."""
    compared = []
    for frame in frames:
        evaluation = backbone.evaluate([frame.atoms])
        forces, stress = (part.detach().cpu().numpy().astype(np.float64) for part in evaluation.foundation())
        compared.append(_compared(frame, float(evaluation.energy[0]), forces, full_3x3_to_voigt_6_stress(stress[0])))
    return compared


def compared_with_tangents(frames: Sequence[TrainingFrame], tangents: Sequence[Tangents]) -> list[ComparedLabel]:
    """Pair labels, which may lack parts, with the foundation's predictions among its stored tangents."""
    return [
        _compared(frame, float(seen.energy), seen.forces.astype(np.float64), seen.stress.astype(np.float64))
        for frame, seen in zip(frames, tangents, strict=True)
    ]


def composition(frames: Sequence[Atoms]) -> Array:
    """Return the number of atoms of each element in each frame, (frames, elements)."""
    elements = np.unique(np.concatenate([atoms.numbers for atoms in frames]))
    return np.array([(atoms.numbers[:, None] == elements).sum(0) for atoms in frames], dtype=np.float64)


def robust_spread(values: Array) -> float:
    """Return the standard deviation estimated from the median absolute deviation."""
    return float(MAD_TO_SIGMA * np.median(np.abs(values - np.median(values))))


def _compared(frame: TrainingFrame, energy_eV: float, forces: Array, stress: Array) -> ComparedLabel:
    label = np.full((len(frame.atoms), 3), np.nan) if frame.forces_eV_per_A is None else frame.forces_eV_per_A
    return ComparedLabel(frame.atoms, frame.energy_eV, label, frame.stress_eV_per_A3, energy_eV, forces, stress)
