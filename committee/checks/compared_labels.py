"""Labels beside a model's predictions, and what all label checks share: criteria that distinguish errors of labels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

Array = NDArray[np.float64]

MIN_FRAMES = 4
AGREEMENT = 0.8  # cosine above which directions agree; with an inaccurate foundation correct labels may be below
FAR_TOLERANCE = 1.6  # largest factor between the observed ratio and that of a unit
PAIR = 2  # atoms
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
    def is_diatomic(self) -> bool:
        """A molecule of two atoms, whose forces change sign where the bond lengths of label and model differ."""
        return len(self.atoms) == PAIR and not self.atoms.pbc.any()

    @property
    def force_cosine(self) -> float:
        """Cosine between the forces of label and model."""
        return cosine(self.forces_eV_per_A, self.model_forces_eV_per_A)

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
    def stress_pair(self) -> Array | None:
        """(2, 6) eV/Å³: stress of label and model; None where one of them has none."""
        if self.stress_eV_per_A3 is None or self.model_stress_eV_per_A3 is None:
            return None
        pair = np.array([self.stress_eV_per_A3, self.model_stress_eV_per_A3], dtype=np.float64)
        return pair if np.isfinite(pair).all() else None

    @property
    def stress_error(self) -> float:
        """Largest component of label minus model, eV/Å³; NaN where one of them has no stress."""
        pair = self.stress_pair
        return float("nan") if pair is None else float(np.abs(pair[0] - pair[1]).max())

    @property
    def stress_reach(self) -> float:
        """Stress difference that the force errors and the model's stress allow, eV/Å³; NaN as ``stress_error``."""
        pair = self.stress_pair
        if pair is None:
            return float("nan")
        return float(_REACH_A * self.possible_force_errors.sum() / self.atoms.get_volume() + np.abs(pair[1]).max())


def cosine(one: Array, other: Array) -> float:
    """Return the cosine of the angle between two arrays as vectors; 0 where one is zero."""
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float((one * other).sum()) / norms if norms > 0 else 0.0


def near_units(ratio: float, units: Mapping[str, float], tolerance: float = FAR_TOLERANCE) -> str:
    """Return the units whose conversion factor is close to a ratio, the closest first; empty if none is."""
    distances = {name: abs(float(np.log(ratio / factor))) for name, factor in units.items()}
    near = [name for name in units if distances[name] < np.log(tolerance)]
    return " or ".join(sorted(near, key=distances.__getitem__)[:2])
