"""What the committee's uncertainty means in eV/Å of true error, and when a frame may be trusted.

The unit is the frame: atoms of one frame are not exchangeable. Frames must be ones the fit has not seen.
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
    """How the calibration did on frames it has not seen.

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
    """Thresholds on the combined uncertainty of spread and latent distance, from frames the fit has not seen.

    Attributes:
        tolerance_eV_per_A: largest force error on any atom that the user accepts.
        confidence: how often it must hold for trusted frames.
        frames: number of calibration frames.
        spread_power: b of the combined uncertainty u = τ (σ/τ)^b max(d, 1)^c, τ the tolerance.
        distance_power: c; 0 while frames are too few to say anything, when u is the spread.
        quantile: conformal quantile of max_i e_i / u_i; None with too few frames.
        trust_threshold: largest max_i u_i (eV/Å) of a trusted frame; None until it is known.
        discard_threshold: max_i u_i (eV/Å) beyond which a frame is not worth a label; None until it is known.
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
            confidence: how often it must hold.
            latent_quantile: of the frames' largest latent distance.
            discard_factor: predicted error in units of the tolerance that makes a frame not worth a label.

        Raises:
            TrainingDataError: lengths that differ, or numbers that are not finite.
        """
        _check(errors, sigmas, latent)
        score = Score(tolerance_eV_per_A)
        if len(errors) >= frames_needed(confidence):
            score = Score.fit(errors, sigmas, latent, tolerance_eV_per_A)
        uncertainties = [score(sigma, distance) for sigma, distance in zip(sigmas, latent, strict=True)]
        quantile = conformal_quantile(_ratios(errors, uncertainties), confidence)
        worst, doubt = largest(errors), largest(uncertainties)
        threshold = proven_threshold(doubt, worst > tolerance_eV_per_A, confidence)
        proven = threshold is not None
        if threshold is None and quantile is not None:
            threshold = tolerance_eV_per_A / quantile
        trusted = doubt <= threshold if threshold is not None else np.zeros(len(doubt), dtype=bool)
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
        """Combined uncertainty (n,) in eV/Å, which the thresholds are about.

        Args:
            sigma: (n,) norm of each atom's force spread, eV/Å.
            latent: (n,) latent distance.
        """
        return Score(self.tolerance_eV_per_A, self.spread_power, self.distance_power)(sigma, latent)

    def trusts(self, sigmas: Sequence[Array], latent: Sequence[Array]) -> NDArray[np.bool_]:
        """Whether each frame is below the trust threshold and no further away than the calibration frames, (frames,).

        Args:
            sigmas: per frame, (n,) eV/Å.
            latent: per frame, (n,) latent distance.
        """
        if self.trust_threshold is None or self.latent_threshold is None:
            return np.zeros(len(sigmas), dtype=bool)
        doubt = largest(self._uncertainties(sigmas, latent))
        return (doubt <= self.trust_threshold) & (largest(latent) <= self.latent_threshold)

    def coverage(self, errors: Sequence[Array], sigmas: Sequence[Array], latent: Sequence[Array]) -> Coverage:
        """Count, on frames that neither fit nor calibration has seen, how often the calibration held.

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
        """The promise in one readable sentence, with the number of frames it rests on."""
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
            f"not proven at {self.confidence:.0%}: {counts}; the threshold rests on the marginal coverage of "
            f"{self.frames} frames, a proof needs at least {frames_to_prove(self.confidence)} trusted ones"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` gave.

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
    """Uncertainty whose predicted error (quantile × itself) is ``factor`` tolerances, and above the trust threshold."""
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
