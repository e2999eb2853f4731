"""Calibrate the committee's standard deviation of energy differences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.stats import chi2
from scipy.stats import t as student

from al_loop.tools.ranking.composition import grouped
from committee.potential import CommitteePotential
from committee.prediction import Prediction
from committee.uncertainty.calibration import Calibration
from committee.uncertainty.score import FLOOR

FRAMES_NEEDED = 8
SMALLEST_SPREAD_EV = 1e-6
RESAMPLES = 200


@dataclass(frozen=True)
class EnergyScale:
    """Factor on standard deviations of energy differences.

    Attributes:
        value: the factor.
        source: its origin, as text.
        calibrated: it is based on labelled energies.
    """

    value: float
    source: str
    calibrated: bool = False

    @classmethod
    def fit(
        cls,
        potential: CommitteePotential,
        labelled: Sequence[tuple[Atoms, float]],
        confidence: float,
        rng: np.random.Generator,
    ) -> Self | None:
        """Calibrate on differences between labelled frames of one composition.

        The factor is the one with which a share ``confidence`` of the differences lies below the one-sided bound
        that the ranking uses. Pairs that share a frame are not independent, and a dozen frames leave the factor itself
        uncertain: it is the upper end, at the same confidence, of what resampled frames give.

        Args:
            potential: the committee.
            labelled: frames that it was not trained on with their energies, eV, at the level it was trained on.
            confidence: one-sided, above 0.5.
            rng: resamples the frames.

        Returns:
            None with fewer than ``FRAMES_NEEDED`` frames that share their composition with another one.
        """
        frames = [atoms for atoms, _ in labelled]
        groups = [group for group in grouped(frames) if len(group.members) > 1] if frames else []
        used = sum(len(group.members) for group in groups)
        if used < FRAMES_NEEDED:
            return None
        predictions = potential.predict(frames)
        errors = np.array([p.energy - energy for p, (_, energy) in zip(predictions, labelled, strict=True)])
        deviations = np.stack([p.energy_ensemble - p.energy for p in predictions])
        ratios = []
        for group in groups:
            units = np.array([group.units(frames[i]) for i in group.members])
            ratios.append(_ratios(errors[group.members] / units, deviations[group.members] / units[:, None]))
        bounds = [_resampled_bound(ratios, 2 * confidence - 1, rng) for _ in range(RESAMPLES)]
        value = float(np.quantile(bounds, confidence)) / float(student.ppf(confidence, potential.settings.members - 1))
        return cls(value, f"from differences between {used} labelled frames", calibrated=True)

    @classmethod
    def from_forces(cls, calibration: Calibration, predictions: Sequence[Prediction]) -> Self | None:
        """Use the force calibration, the ratio of force errors to their standard deviation.

        Its conformal quantile is about the worst atom of a frame; Gaussian errors of n atoms with the right spread
        would have it at the root of chi2(3) at confidence^(1/n), over 3. Never below 1: a bound on forces is no
        reason to trust energies more than the members do.

        Args:
            calibration: of the forces.
            predictions: of the candidates, with exact force uncertainties and latent distances.

        Returns:
            None without a force calibration.
        """
        if calibration.quantile is None:
            return None
        ratios = []
        for prediction in predictions:
            sigma, distance = prediction.atomic_force_uncertainty, prediction.latent_distance
            if distance is None:
                return None
            floored = np.maximum(sigma, FLOOR * calibration.tolerance_eV_per_A)
            larger = float(np.max(calibration.uncertainty(floored, distance)) / np.max(floored))
            expected = np.sqrt(chi2.ppf(calibration.confidence ** (1 / len(sigma)), 3) / 3)
            ratios.append(calibration.quantile * larger / expected)
        value = max(1.0, float(np.median(ratios)))
        return cls(value, "taken from the calibration of the forces")


UNCALIBRATED = EnergyScale(1.0, "not calibrated")


def energy_scale(
    potential: CommitteePotential,
    labelled: Sequence[tuple[Atoms, float]],
    predictions: Sequence[Prediction],
    confidence: float,
    rng: np.random.Generator,
) -> EnergyScale:
    """Return the factor from the best source: labelled energies, else the force calibration, else 1.

    Args:
        potential: the committee.
        labelled: held-out frames with energies, eV; may be empty.
        predictions: of the candidates (mode ``exact``).
        confidence: one-sided.
        rng: resamples the labelled frames.
    """
    known = EnergyScale.fit(potential, labelled, confidence, rng)
    if known is None and potential.calibration is not None and predictions:
        known = EnergyScale.from_forces(potential.calibration, predictions)
    return known or UNCALIBRATED


def _ratios(errors: NDArray[np.float64], deviations: NDArray[np.float64]) -> NDArray[np.float64]:
    """|error| over standard deviation of the difference between each two of n frames: (n, n)."""
    spread = np.std(deviations[:, None] - deviations[None], axis=2, ddof=1)
    return np.asarray(np.abs(errors[:, None] - errors) / np.maximum(spread, SMALLEST_SPREAD_EV))


def _resampled_bound(ratios: Sequence[NDArray[np.float64]], share: float, rng: np.random.Generator) -> float:
    """Quantile of the ratios between frames that are drawn with replacement, within each composition."""
    drawn = []
    for table in ratios:
        while True:
            first, second = np.triu_indices(len(table), 1)
            frames = rng.integers(len(table), size=len(table))
            pairs = table[frames[first], frames[second]][frames[first] != frames[second]]
            if len(pairs):  # of two frames, one may be drawn twice
                break
        drawn.append(pairs)
    return float(np.quantile(np.concatenate(drawn), share))
