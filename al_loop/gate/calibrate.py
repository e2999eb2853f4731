"""Calibrate a committee's gate on labelled frames that it was not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.config import GateSettings
from al_loop.gate.beside_foundation import predict_beside
from committee.potential import CommitteePotential
from committee.uncertainty.calibration import Calibration
from committee.uncertainty.drift import CalibrationScores

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ForceComparison:
    """A committee's forces against labels, frame by frame.

    Attributes:
        differences: per frame, (n, 3) force minus label, eV/Å.
        foundation_differences: the same of the foundation before any adaptation.
        sigmas: per frame, (n,) norm of each atom's force spread, eV/Å.
        latent: per frame, (n,) latent distance.
    """

    differences: list[Array]
    foundation_differences: list[Array]
    sigmas: list[Array]
    latent: list[Array]

    @classmethod
    def of(
        cls,
        potential: CommitteePotential,
        frames: Sequence[Atoms],
        forces: Sequence[Array],
        foundation: CommitteePotential | None = None,
    ) -> "ForceComparison":
        """Predict frames and compare.

        Args:
            potential: a trained committee.
            frames: structures.
            forces: their labels, (n, 3) eV/Å each.
            foundation: before any adaptation; None for that of the committee.
        """
        predictions = predict_beside(potential, foundation, frames, "exact")
        pairs = list(zip(predictions, forces, strict=True))
        return cls(
            [found.forces - truth for found, truth in pairs],
            [np.asarray(found.foundation_forces) - truth for found, truth in pairs],
            [found.atomic_force_uncertainty for found in predictions],
            [np.asarray(found.latent_distance) for found in predictions],
        )

    @property
    def errors(self) -> list[Array]:
        """Per frame, (n,) norm of the force error on each atom, eV/Å."""
        return [np.linalg.norm(difference, axis=1) for difference in self.differences]

    @property
    def mae_eV_per_A(self) -> float:
        """Mean absolute error of the force components."""
        return float(np.mean(np.abs(np.concatenate(self.differences))))

    @property
    def foundation_mae_eV_per_A(self) -> float:
        """That of the foundation."""
        return float(np.mean(np.abs(np.concatenate(self.foundation_differences))))


def with_fitted_calibration(
    potential: CommitteePotential,
    errors: Sequence[Array],
    sigmas: Sequence[Array],
    latent: Sequence[Array],
    gate: GateSettings,
    conditions: Sequence[str] = (),
) -> CommitteePotential:
    """Return a committee with the calibration that frames give, and their scores, with which a run is compared.

    Args:
        potential: a trained committee.
        errors: per frame, (n,) norm of the force error on each atom, eV/Å.
        sigmas: per frame, (n,) norm of each atom's force spread, eV/Å.
        latent: per frame, (n,) latent distance.
        gate: tolerance, confidence and quantiles.
        conditions: origin of each frame; empty if all are alike.
    """
    calibration = Calibration.fit(
        errors,
        sigmas,
        latent,
        tolerance_eV_per_A=gate.force_tolerance_eV_per_A,
        confidence=gate.confidence,
        latent_quantile=gate.latent_quantile,
        discard_factor=gate.discard_factor,
    )
    return potential.with_calibration(calibration, CalibrationScores.of(calibration, sigmas, latent, conditions))
