"""Labels paired with a model's predictions for the same structures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.records import LabelledFrame
from committee.potential import CommitteePotential
from committee.training.train import TrainingFrame

Array = NDArray[np.float64]

SIGNIFICANT_FORCE = 0.3
"""Of the root mean square of a frame's forces: smaller ones are not compared."""

_REACH_A = 1.0


@dataclass(frozen=True)
class ComparedLabel:
    """A label and a model's prediction for the same structure of n atoms.

    Attributes:
        atoms: the structure.
        energy_eV: total energy of the label; NaN if there is none.
        forces_eV_per_A: (n, 3) of the label; NaN if there are none.
        stress_eV_per_A3: (6,) of the label; None or NaN if there is none.
        model_energy_eV: the model's total energy, with any zero.
        model_forces_eV_per_A: (n, 3) of the model.
        model_stress_eV_per_A3: (6,) of the model; None or NaN if it has none.
    """

    atoms: Atoms
    energy_eV: float
    forces_eV_per_A: Array
    stress_eV_per_A3: Array | None
    model_energy_eV: float
    model_forces_eV_per_A: Array
    model_stress_eV_per_A3: Array | None

    @property
    def force_errors(self) -> Array:
        """(n,) eV/Å: norm of label minus model on each atom; NaN where the label has no forces."""
        return np.asarray(np.linalg.norm(self.forces_eV_per_A - self.model_forces_eV_per_A, axis=1))

    @property
    def possible_force_errors(self) -> Array:
        """(n,) eV/Å: ``force_errors``, or the norm of the model's forces where the label has none."""
        errors = self.force_errors
        return errors if np.isfinite(errors).all() else np.asarray(np.linalg.norm(self.model_forces_eV_per_A, axis=1))

    @property
    def energy_reach_eV_per_atom(self) -> float:
        """Energy difference that the force errors allow, eV/atom."""
        return float(_REACH_A * self.possible_force_errors.mean())

    @property
    def stress_error(self) -> float:
        """Largest component of label minus model, eV/Å³; NaN where one of them has no stress."""
        if self.stress_eV_per_A3 is None or self.model_stress_eV_per_A3 is None:
            return float("nan")
        return float(np.abs(self.stress_eV_per_A3 - self.model_stress_eV_per_A3).max())

    @property
    def stress_reach(self) -> float:
        """Stress difference that the force errors and the model's stress allow, eV/Å³; only where both have one."""
        assert self.model_stress_eV_per_A3 is not None  # noqa: S101 - used only where there is an error
        virial = _REACH_A * self.possible_force_errors.sum() / self.atoms.get_volume()
        return float(virial + np.abs(self.model_stress_eV_per_A3).max())


def compared_label(
    frame: TrainingFrame, energy_eV: float, forces_eV_per_A: Array, stress_eV_per_A3: Array | None
) -> ComparedLabel:
    """Pair a label, which may lack parts, with a model's prediction for its structure.

    Args:
        frame: the label.
        energy_eV: the model's.
        forces_eV_per_A: (n, 3), the model's.
        stress_eV_per_A3: (6,), the model's.
    """
    forces = np.full((len(frame.atoms), 3), np.nan) if frame.forces_eV_per_A is None else frame.forces_eV_per_A
    label = frame.energy_eV, forces, frame.stress_eV_per_A3
    return ComparedLabel(frame.atoms, *label, energy_eV, forces_eV_per_A, stress_eV_per_A3)


def compared_with(model: CommitteePotential, frames: Sequence[LabelledFrame]) -> list[ComparedLabel]:
    """Pair converged labels with a model's predictions.

    Args:
        model: its reference shifts need not be known.
        frames: each with energy and forces.
    """
    predictions = model.predict([frame.atoms for frame in frames], "energy")
    return [
        ComparedLabel(
            frame.atoms,
            frame.energy_eV,
            frame.forces_eV_per_A,
            frame.label.stress_eV_per_A3,
            p.energy,
            p.forces,
            p.stress,
        )
        for frame, p in zip(frames, predictions, strict=True)
    ]


def composition(frames: Sequence[Atoms]) -> Array:
    """Return the number of atoms of each element in each frame, (frames, elements)."""
    elements = np.unique(np.concatenate([atoms.numbers for atoms in frames]))
    return np.array([(atoms.numbers[:, None] == elements).sum(0) for atoms in frames], dtype=np.float64)
