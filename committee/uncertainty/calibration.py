"""Calibration of the committee's uncertainty against true force errors, and the trust threshold.

The unit is the frame: atoms of one frame are not exchangeable. Calibration frames must not be training frames.

The guarantee is conditional: a frame is trusted if the estimated probability that its largest force error is above the
tolerance, given its own uncertainty, is at most 1 - confidence. That hardly any calibration frame exceeds the tolerance
is no reason to trust a frame that is more uncertain than they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from committee.errors import CheckpointError, TrainingDataError
from committee.uncertainty.conformal import (
    clopper_pearson_upper,
    confirmed_threshold,
    conformal_quantile,
    frames_needed,
    frames_to_prove,
    proven_threshold,
)
from committee.uncertainty.error_model import ErrorModel
from committee.uncertainty.score import FLOOR, atomic_uncertainty, largest, mean_of_largest

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Coverage:
    """Coverage of a calibration on held-out frames.

    Attributes:
        frames: number of frames.
        covered: frames whose every atomic error lies within quantile × uncertainty.
        trusted: frames below the thresholds.
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
    """Thresholds on the uncertainty, from held-out frames. It is fitted again whenever frames are added.

    Attributes:
        tolerance_eV_per_A: largest force error on any atom that the user accepts.
        confidence: required probability that a trusted frame is within the tolerance.
        frames: number of calibration frames.
        quantile: conformal quantile of max_i e_i / u_i; None with too few frames.
        error_model: distribution of a frame's largest error given its uncertainty; None with too few frames.
        trust_threshold: largest uncertainty (eV/Å) of a trusted frame; 0 where no frame can be trusted, None with too
            few frames.
        discard_threshold: uncertainty of an atom (eV/Å) above which a frame is not worth a label; None likewise.
        latent_threshold: largest latent distance of a trusted frame.
        guarantee_proven: for frames like the calibration frames, the upper bound of P(largest error > tolerance |
            trusted) is at most 1 - confidence.
        trusted: calibration frames below the trust threshold.
        trusted_exceeding: those of them with an error above the tolerance.
        trusted_error_bound: that upper bound (95 %, one-sided, Clopper-Pearson); 1 without a trusted frame.
    """

    tolerance_eV_per_A: float
    confidence: float
    frames: int
    quantile: float | None
    error_model: ErrorModel | None
    trust_threshold: float | None
    discard_threshold: float | None
    latent_threshold: float | None
    guarantee_proven: bool
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

        The trust threshold is the smallest of three: where the error model's probability reaches 1 - confidence, where
        the calibration frames below it confirm that, and, if they can prove a bound at all, where the proof ends.

        Args:
            errors: per frame, (n,) norm of the force error on each atom, eV/Å.
            sigmas: per frame, (n,) norm of the three standard deviations of each atom's force, eV/Å.
            latent: per frame, (n,) latent distance.
            tolerance_eV_per_A: largest acceptable error.
            confidence: required probability that a trusted frame is within the tolerance.
            latent_quantile: quantile of the frames' largest latent distance.
            discard_factor: predicted error, in units of the tolerance, above which a frame is not worth a label.

        Raises:
            TrainingDataError: lengths differ, or numbers are not finite.
        """
        _check(errors, sigmas, latent)
        floor = FLOOR * tolerance_eV_per_A
        uncertainties = [atomic_uncertainty(sigma, distance) for sigma, distance in zip(sigmas, latent, strict=True)]
        quantile = conformal_quantile(_ratios(errors, uncertainties, floor), confidence)
        worst = largest(errors)
        exceeds = worst > tolerance_eV_per_A
        frame = np.maximum([mean_of_largest(values) for values in uncertainties], floor)
        model, threshold, proven = None, None, False
        if len(errors) >= frames_needed(confidence):
            model = ErrorModel.fit(frame, np.maximum(worst, floor))
        if model is not None:
            threshold, proven = _threshold(model, frame, exceeds, tolerance_eV_per_A, confidence)
        trusted = frame <= (0.0 if threshold is None else threshold)
        return cls(
            tolerance_eV_per_A=tolerance_eV_per_A,
            confidence=confidence,
            frames=len(errors),
            quantile=quantile,
            error_model=model,
            trust_threshold=threshold,
            discard_threshold=_discard(tolerance_eV_per_A, quantile, threshold, discard_factor),
            latent_threshold=float(np.quantile(largest(latent), latent_quantile, method="higher")) if latent else None,
            guarantee_proven=proven,
            trusted=int(trusted.sum()),
            trusted_exceeding=int(np.sum(trusted & exceeds)),
            trusted_error_bound=clopper_pearson_upper(int(np.sum(trusted & exceeds)), int(trusted.sum())),
        )

    def uncertainty(self, sigma: Array, latent: Array) -> Array:
        """Return the uncertainty (n,) of each atom in eV/Å, to which the discard threshold applies.

        Args:
            sigma: (n,) norm of each atom's force spread, eV/Å.
            latent: (n,) latent distance.
        """
        return atomic_uncertainty(sigma, latent)

    def frame_uncertainty(self, sigma: Array, latent: Array) -> float:
        """Return the uncertainty of a frame in eV/Å, to which the trust threshold applies.

        Args:
            sigma: (n,) norm of each atom's force spread, eV/Å.
            latent: (n,) latent distance.
        """
        return max(mean_of_largest(atomic_uncertainty(sigma, latent)), FLOOR * self.tolerance_eV_per_A)

    def probability_above_tolerance(self, frame_uncertainty: Array) -> Array | None:
        """Return the estimated P(largest force error > tolerance | uncertainty) of frames; None with too few frames.

        Args:
            frame_uncertainty: (frames,) uncertainty of each frame, eV/Å.
        """
        if self.error_model is None:
            return None
        floored = np.maximum(frame_uncertainty, FLOOR * self.tolerance_eV_per_A)
        return self.error_model.probability_above(self.tolerance_eV_per_A, floored)

    def trusts(self, sigmas: Sequence[Array], latent: Sequence[Array]) -> NDArray[np.bool_]:
        """Whether each frame is below the trust threshold and the latent threshold, (frames,).

        Args:
            sigmas: per frame, (n,) eV/Å.
            latent: per frame, (n,) latent distance.
        """
        if self.trust_threshold is None or self.latent_threshold is None:
            return np.zeros(len(sigmas), dtype=bool)
        frame = np.array([self.frame_uncertainty(*pair) for pair in zip(sigmas, latent, strict=True)])
        return (frame <= self.trust_threshold) & (largest(latent) <= self.latent_threshold)

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
            uncertainties = [self.uncertainty(*pair) for pair in zip(sigmas, latent, strict=True)]
            ratios = _ratios(errors, uncertainties, FLOOR * self.tolerance_eV_per_A)
            covered = int(np.sum(ratios <= self.quantile))
        exceeding = int(np.sum(trusted & (largest(errors) > self.tolerance_eV_per_A)))
        n_trusted = int(trusted.sum())
        return Coverage(len(errors), covered, n_trusted, exceeding, clopper_pearson_upper(exceeding, n_trusted))

    @property
    def summary(self) -> str:
        """The guarantee in one sentence, with its conditions and the number of frames that support it."""
        if self.quantile is None:
            needed = frames_needed(self.confidence)
            return f"not enough labels yet: {self.frames} calibration frames, at least {needed} are needed"
        if self.trusted == 0:
            return (
                f"no frame can be trusted at {self.confidence:.0%}: on {self.frames} calibration frames no uncertainty "
                f"is small enough for {self.tolerance_eV_per_A:g} eV/Å"
            )
        counts = (
            f"{self.trusted_exceeding} of {self.trusted} trusted calibration frames exceed "
            f"{self.tolerance_eV_per_A:g} eV/Å (upper bound {self.trusted_error_bound:.0%})"
        )
        beyond = "under other conditions it is an estimate, which assumes that errors grow with the uncertainty"
        if self.guarantee_proven:
            return f"proven at {self.confidence:.0%} for frames like the calibration frames: {counts}; {beyond}"
        return (
            f"not proven at {self.confidence:.0%}: {counts}; a proof needs at least "
            f"{frames_to_prove(self.confidence)} trusted ones; {beyond}"
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
        _require_keys(cls, values)
        model = values["error_model"]
        if model is not None:
            _require_keys(ErrorModel, model)
            model = ErrorModel(**model)
        return cls(**{**values, "error_model": model})


def _threshold(
    model: ErrorModel, uncertainty: Array, exceeds: NDArray[np.bool_], tolerance: float, confidence: float
) -> tuple[float, bool]:
    """Return the trust threshold, 0 for none, and whether the bound is proven for frames like those."""
    estimated = model.largest_uncertainty(tolerance, confidence, uncertainty)
    confirmed = None if estimated is None else confirmed_threshold(uncertainty, exceeds, estimated, confidence)
    if confirmed is None:
        return 0.0, False
    proven = proven_threshold(uncertainty, exceeds, confidence)
    # Thresholds are tested in ascending order, so that every smaller one with enough frames was proven too.
    threshold = confirmed if proven is None else min(confirmed, proven)
    enough = int(np.sum(uncertainty <= threshold)) >= frames_to_prove(confidence)
    return threshold, proven is not None and enough


def _discard(tolerance: float, quantile: float | None, threshold: float | None, factor: float) -> float | None:
    """Return the uncertainty whose predicted error (quantile × u) is ``factor`` tolerances, at least the threshold."""
    if quantile is None or threshold is None:
        return None
    return max(factor * tolerance / quantile, threshold)


def _ratios(errors: Sequence[Array], uncertainties: Sequence[Array], floor: float) -> Array:
    return np.array([np.max(e / np.maximum(u, floor)) for e, u in zip(errors, uncertainties, strict=True)])


def _require_keys(kind: type[Calibration | ErrorModel], values: Mapping[str, Any]) -> None:
    expected = {field.name for field in fields(kind)}
    if set(values) != expected:
        raise CheckpointError(
            f"A calibration has the keys {sorted(expected)}, received {sorted(values)}; calibrate again."
        )


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
