"""Uncertainty of a committee's energy differences: its calibration, and what it lets a ranking distinguish.

Errors of a committee are shared between similar structures. The uncertainty of an energy difference is therefore the
spread over the members of the difference, not the sum of two spreads; with K members it follows Student's t with
K - 1 degrees of freedom.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.stats import chi2
from scipy.stats import t as student

from al_loop.tools.ranking.grouping import grouped
from committee.potential import CommitteePotential
from committee.prediction import Prediction
from committee.uncertainty.calibration import Calibration
from committee.uncertainty.score import FLOOR

Array = NDArray[np.float64]
SAMPLES = 20_000
FRAMES_NEEDED = 8
SMALLEST_SPREAD_EV = 1e-6
RESAMPLES = 200


@dataclass(frozen=True)
class Energies:
    """Energies of C comparable candidates from K members, eV per compared unit.

    Attributes:
        mean: (C,) served energy.
        deviations: (C, K) of each member from the mean.
        scale: what standard deviations of differences are multiplied by to be those of the true errors.
        resolution: standard deviation of a difference besides the committee's: rounding, what relaxation left.
    """

    mean: Array
    deviations: Array
    scale: float
    resolution: float

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the members' spread."""
        return int(self.deviations.shape[1]) - 1

    def difference_std(self, first: int, second: int) -> float:
        """Standard deviation of the difference between two candidates, eV."""
        spread = self.scale * float(np.std(self.deviations[first] - self.deviations[second], ddof=1))
        return 0.0 if first == second else float(np.hypot(spread, self.resolution))

    def separates(self, lower: int, higher: int, confidence: float) -> bool:
        """Whether ``higher`` lies above ``lower`` with this one-sided confidence."""
        gap = self.mean[higher] - self.mean[lower]
        return bool(gap > student.ppf(confidence, self.freedom) * self.difference_std(lower, higher))

    def samples(self, rng: np.random.Generator, count: int = SAMPLES) -> Array:
        """Energies (count, C) that could be the true ones: a multivariate t with the members' covariance."""
        members = rng.normal(size=(count, self.deviations.shape[1])) / np.sqrt(self.freedom)
        stretch = np.sqrt(self.freedom / rng.chisquare(self.freedom, size=(count, 1)))
        own = rng.normal(scale=self.resolution / np.sqrt(2), size=(count, len(self.mean)))
        return np.asarray(self.mean + stretch * (self.scale * members @ self.deviations.T + own))


@dataclass(frozen=True)
class RankStatistics:
    """Order of the candidates, and which cannot be distinguished from the best.

    Attributes:
        order: (C,) indices, lowest energy first.
        probability_top: (C,) how likely each is among the best N.
        inseparable_from: for each candidate beyond the N lowest that cannot be told apart from one of them, the
            first such one.
        probability_kept: how likely the true best N are all among the N lowest and those.
    """

    order: NDArray[np.int64]
    probability_top: Array
    inseparable_from: dict[int, int]
    probability_kept: float


def rank_statistics(energies: Energies, top: int, confidence: float, rng: np.random.Generator) -> RankStatistics:
    """Rank candidates and find those that cannot be told from the best ``top`` at a one-sided confidence.

    The generator draws the energies that the probabilities are counted on.
    """
    order = np.argsort(energies.mean, kind="stable")
    best, others = order[:top], order[top:]
    inseparable = {}
    for candidate in others:
        close = [int(b) for b in best if not energies.separates(int(b), int(candidate), confidence)]
        if close:
            inseparable[int(candidate)] = close[0]
    kept = np.zeros(len(order), dtype=bool)
    kept[[*best, *inseparable]] = True
    drawn = energies.samples(rng)
    chosen = np.zeros(drawn.shape, dtype=bool)
    np.put_along_axis(chosen, np.argsort(drawn, axis=1)[:, :top], values=True, axis=1)
    return RankStatistics(
        order=order,
        probability_top=chosen.mean(axis=0),
        inseparable_from=inseparable,
        probability_kept=float((chosen <= kept).all(axis=1).mean()),
    )


@dataclass(frozen=True)
class EnergyScale:
    """Factor on standard deviations of energy differences, and its origin in words."""

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
        """Calibrate on differences between labelled frames (energies in eV) of one composition, not trained on.

        The factor is the one with which a share ``confidence`` of the differences lies below the one-sided bound
        that the ranking uses. Pairs that share a frame are not independent, and a dozen frames leave the factor itself
        uncertain: it is the upper end, at the same confidence, of what resampled frames give.

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
        """Use the force calibration, the ratio of force errors to their standard deviation; None without it.

        Its conformal quantile is about the worst atom of a frame; Gaussian errors of n atoms with the right spread
        would have it at the root of chi2(3) at confidence^(1/n), over 3. Never below 1: a bound on forces is no
        reason to trust energies more than the members do.
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


def calibration_notes(potential: CommitteePotential, scale: EnergyScale) -> Iterator[str]:
    """Yield what the uncertainty of energy differences is based on, and what is missing of its calibration."""
    if potential.calibration is None:
        yield (
            "the model was never calibrated: the gate trusts nothing, so that every candidate is suspect, ranked or "
            "not. Only the physics check was applied."
        )
    source = f"the uncertainty of an energy difference is {scale.value:.2f} times the members' spread, {scale.source}"
    if scale.calibrated:
        yield f"{source}."
        return
    yield (
        f"{source}. Labelled frames that the model was not trained on (--labelled, or --config of a campaign that has "
        "run) calibrate it."
    )
