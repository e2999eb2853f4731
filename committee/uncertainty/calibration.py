"""Calibration of the committee's uncertainty against true force errors, and the trust threshold.

The unit is the frame: atoms of one frame are not exchangeable. Calibration frames must not be training frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from committee.errors import CheckpointError, TrainingDataError
from committee.uncertainty.conformal import (
    clopper_pearson_upper,
    conformal_quantile,
    frames_needed,
    frames_to_prove,
    proven_threshold,
)
from committee.uncertainty.score import Score, largest

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Coverage:
    """Coverage of a calibration on held-out frames.

    Attributes:
        frames: number of frames.
        covered: frames whose every atomic error lies within quantile × spread.
        trusted: frames below the trust threshold.
        trusted_exceeding: trusted frames with an error above the tolerance.
        trusted_error_bound: upper confidence bound of the error rate among trusted frames (1 without any).
    """

    frames: int
    covered: int
    trusted: int
    trusted_exceeding: int
    trusted_error_bound: float

    @property
    def marginal(self) -> float:
        """Share of covered frames, NaN without frames."""
        return self.covered / self.frames if self.frames else float("nan")


@dataclass(frozen=True)
class Calibration:
    """Thresholds on the combined uncertainty of spread and latent distance, from held-out frames.

    Attributes:
        tolerance_eV_per_A: largest force error on any atom that the user accepts.
        confidence: required fraction of trusted frames within the tolerance.
        frames: number of calibration frames.
        spread_power: b of the combined uncertainty u = τ (σ/τ)^b max(d, 1)^c, τ the tolerance.
        distance_power: c; 0 while there are too few frames to fit it, in which case u is the spread.
        quantile: conformal quantile of max_i e_i / u_i; None with too few frames.
        trust_threshold: largest max_i u_i (eV/Å) of a trusted frame; None while it cannot be determined.
        discard_threshold: max_i u_i (eV/Å) above which a frame is not worth a label; None likewise.
        latent_threshold: largest latent distance of a trusted frame.
        promise_proven: the upper bound of P(largest error > tolerance | trusted) is at most 1 - confidence.
        trusted: calibration frames below the trust threshold.
        trusted_exceeding: those of them with an error above the tolerance.
        trusted_error_bound: that upper bound (95 %, one-sided, Clopper-Pearson); 1 without a trusted frame.
    """

    tolerance_eV_per_A: float
    confidence: float
    frames: int
    spread_power: float
    distance_power: float
    quantile: float | None
    trust_threshold: float | None
    discard_threshold: float | None
    latent_threshold: float | None
    promise_proven: bool
    trusted: int
    trusted_exceeding: int
    trusted_error_bound: float

    @classmethod
    def fit(
        cls,
        errors: Sequence[Array],
        sigmas: Sequence[Array],
        latent: Sequence[Array],
        *,
        tolerance_eV_per_A: float,
        confidence: float = 0.9,
        latent_quantile: float = 0.99,
        discard_factor: float = 10.0,
    ) -> Self:
        """Calibrate.

        Args:
            errors: per frame, (n,) norm of the force error on each atom, eV/Å.
            sigmas: per frame, (n,) norm of the three standard deviations of each atom's force, eV/Å.
            latent: per frame, (n,) latent distance.
            tolerance_eV_per_A: largest acceptable error.
            confidence: required fraction of trusted frames within the tolerance.
            latent_quantile: quantile of the frames' largest latent distance.
            discard_factor: predicted error, in units of the tolerance, above which a frame is not worth a label.

        Raises:
            TrainingDataError: lengths differ, or numbers are not finite.
        """
        _check(errors, sigmas, latent)
        score = Score(tolerance_eV_per_A)
        if len(errors) >= frames_needed(confidence):
            score = Score.fit(errors, sigmas, latent, tolerance_eV_per_A)
        uncertainties = [score(sigma, distance) for sigma, distance in zip(sigmas, latent, strict=True)]
        quantile = conformal_quantile(_ratios(errors, uncertainties), confidence)
        worst, frame_uncertainty = largest(errors), largest(uncertainties)
        threshold = proven_threshold(frame_uncertainty, worst > tolerance_eV_per_A, confidence)
        proven = threshold is not None
        if threshold is None and quantile is not None:
            threshold = tolerance_eV_per_A / quantile
        trusted = frame_uncertainty <= threshold if threshold is not None else np.zeros(len(worst), dtype=bool)
        exceeding = int(np.sum(trusted & (worst > tolerance_eV_per_A)))
        return cls(
            tolerance_eV_per_A=tolerance_eV_per_A,
            confidence=confidence,
            frames=len(errors),
            spread_power=score.spread_power,
            distance_power=score.distance_power,
            quantile=quantile,
            trust_threshold=threshold,
            discard_threshold=_discard(tolerance_eV_per_A, quantile, threshold, discard_factor),
            latent_threshold=float(np.quantile(largest(latent), latent_quantile, method="higher")) if latent else None,
            promise_proven=proven,
            trusted=int(trusted.sum()),
            trusted_exceeding=exceeding,
            trusted_error_bound=clopper_pearson_upper(exceeding, int(trusted.sum())),
        )

    def uncertainty(self, sigma: Array, latent: Array) -> Array:
        """Return the combined uncertainty (n,) in eV/Å, to which the thresholds apply.

        Args:
            sigma: (n,) norm of each atom's force spread, eV/Å.
            latent: (n,) latent distance.
        """
        return Score(self.tolerance_eV_per_A, self.spread_power, self.distance_power)(sigma, latent)

    def trusts(self, sigmas: Sequence[Array], latent: Sequence[Array]) -> NDArray[np.bool_]:
        """Whether each frame is below the trust threshold and the latent threshold, (frames,).

        Args:
            sigmas: per frame, (n,) eV/Å.
            latent: per frame, (n,) latent distance.
        """
        if self.trust_threshold is None or self.latent_threshold is None:
            return np.zeros(len(sigmas), dtype=bool)
        frame_uncertainty = largest(self._uncertainties(sigmas, latent))
        return (frame_uncertainty <= self.trust_threshold) & (largest(latent) <= self.latent_threshold)

    def coverage(self, errors: Sequence[Array], sigmas: Sequence[Array], latent: Sequence[Array]) -> Coverage:
        """Count covered and trusted frames among frames outside training and calibration.

        Args:
            errors: per frame, (n,) eV/Å.
            sigmas: per frame, (n,) eV/Å.
            latent: per frame, (n,) latent distance.
        """
        _check(errors, sigmas, latent)
        trusted = self.trusts(sigmas, latent)
        covered = 0
        if self.quantile is not None:
            covered = int(np.sum(_ratios(errors, self._uncertainties(sigmas, latent)) <= self.quantile))
        exceeding = int(np.sum(trusted & (largest(errors) > self.tolerance_eV_per_A)))
        n_trusted = int(trusted.sum())
        return Coverage(len(errors), covered, n_trusted, exceeding, clopper_pearson_upper(exceeding, n_trusted))

    @property
    def summary(self) -> str:
        """The guarantee in one sentence, with the number of frames that support it."""
        if self.quantile is None:
            needed = frames_needed(self.confidence)
            return f"not enough labels yet: {self.frames} calibration frames, at least {needed} are needed"
        counts = (
            f"{self.trusted_exceeding} of {self.trusted} trusted calibration frames exceed "
            f"{self.tolerance_eV_per_A:g} eV/Å (upper bound {self.trusted_error_bound:.0%})"
        )
        if self.promise_proven:
            return f"proven at {self.confidence:.0%}: {counts}"
        return (
            f"not proven at {self.confidence:.0%}: {counts}; the threshold is based on the marginal coverage of "
            f"{self.frames} frames, a proof needs at least {frames_to_prove(self.confidence)} trusted ones"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a calibration from the values that ``to_dict`` returned.

        Raises:
            CheckpointError: keys are missing or unknown.
        """
        expected = {field.name for field in fields(cls)}
        if set(values) != expected:
            raise CheckpointError(
                f"A calibration has the keys {sorted(expected)}, received {sorted(values)}; calibrate again."
            )
        return cls(**values)

    def _uncertainties(self, sigmas: Sequence[Array], latent: Sequence[Array]) -> list[Array]:
        return [self.uncertainty(sigma, distance) for sigma, distance in zip(sigmas, latent, strict=True)]


def _discard(tolerance: float, quantile: float | None, threshold: float | None, factor: float) -> float | None:
    """Return the uncertainty whose predicted error (quantile × u) is ``factor`` tolerances, at least the threshold."""
    if quantile is None or threshold is None:
        return None
    return max(factor * tolerance / quantile, threshold)


def _ratios(errors: Sequence[Array], uncertainties: Sequence[Array]) -> Array:
    return np.array([np.max(e / u) for e, u in zip(errors, uncertainties, strict=True)])


def _check(errors: Sequence[Array], sigmas: Sequence[Array], latent: Sequence[Array]) -> None:
    if not len(errors) == len(sigmas) == len(latent):
        raise TrainingDataError(
            "Calibration needs errors, spreads and latent distances of the same frames, "
            f"received {len(errors)}, {len(sigmas)} and {len(latent)}."
        )
    for i, arrays in enumerate(zip(errors, sigmas, latent, strict=True)):
        if len({np.shape(array) for array in arrays}) != 1 or np.size(arrays[0]) == 0:
            raise TrainingDataError(f"Calibration frame {i} has arrays of shapes {[np.shape(a) for a in arrays]}.")
        if not all(np.isfinite(array).all() for array in arrays):
            raise TrainingDataError(f"Calibration frame {i} holds NaN or infinity; leave it out.")
