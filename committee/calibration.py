"""What the committee's spread means in eV/Å of true error, and when a frame may be trusted.

The unit is the frame: atoms of one frame are not exchangeable. Frames must be ones the fit has not seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import ceil, log
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from committee.errors import CheckpointError, TrainingDataError

BOUND_CONFIDENCE = 0.95  # of the one-sided upper bound on the error rate among trusted frames
FLOOR = 0.05  # smallest spread that counts, in units of the tolerance: no ratio is taken with a spread near zero

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
    """Thresholds on the committee's force spread, from frames the fit has not seen.

    Attributes:
        tolerance_eV_per_A: largest force error on any atom that the user accepts.
        confidence: how often it must hold for trusted frames.
        frames: number of calibration frames.
        floor_eV_per_A: spread below which an atom's spread counts as this.
        quantile: conformal quantile of max_i e_i / max(σ_i, floor); None with too few frames.
        trust_threshold: largest max_i σ_i (eV/Å) of a trusted frame; None until it is known.
        discard_threshold: max_i σ_i (eV/Å) beyond which a frame is not worth a label; None until it is known.
        latent_threshold: largest latent distance of a trusted frame.
        promise_proven: the upper bound of P(largest error > tolerance | trusted) is at most 1 - confidence.
        trusted: calibration frames below the trust threshold.
        trusted_exceeding: those of them with an error above the tolerance.
        trusted_error_bound: that upper bound (95 %, one-sided, Clopper-Pearson); 1 without a trusted frame.
    """

    tolerance_eV_per_A: float
    confidence: float
    frames: int
    floor_eV_per_A: float
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
        floor = FLOOR * tolerance_eV_per_A
        quantile = conformal_quantile(_scores(errors, sigmas, floor), confidence)
        worst, spread = _largest(errors), _largest(sigmas)
        threshold = proven_threshold(spread, worst > tolerance_eV_per_A, confidence)
        proven = threshold is not None
        if threshold is None and quantile is not None:
            threshold = tolerance_eV_per_A / quantile if quantile * floor <= tolerance_eV_per_A else 0.0
        trusted = spread <= threshold if threshold is not None else np.zeros(len(spread), dtype=bool)
        exceeding = int(np.sum(trusted & (worst > tolerance_eV_per_A)))
        return cls(
            tolerance_eV_per_A=tolerance_eV_per_A,
            confidence=confidence,
            frames=len(errors),
            floor_eV_per_A=floor,
            quantile=quantile,
            trust_threshold=threshold,
            discard_threshold=_discard(tolerance_eV_per_A, quantile, threshold, discard_factor),
            latent_threshold=float(np.quantile(_largest(latent), latent_quantile, method="higher")) if latent else None,
            promise_proven=proven,
            trusted=int(trusted.sum()),
            trusted_exceeding=exceeding,
            trusted_error_bound=clopper_pearson_upper(exceeding, int(trusted.sum())),
        )

    @property
    def select_threshold(self) -> float | None:
        """Largest force spread (eV/Å) of a trusted frame: above it a frame is a suspect."""
        return self.trust_threshold

    def coverage(self, errors: Sequence[Array], sigmas: Sequence[Array], latent: Sequence[Array] = ()) -> Coverage:
        """Count, on frames that neither fit nor calibration has seen, how often the calibration held.

        Args:
            errors: per frame, (n,) eV/Å.
            sigmas: per frame, (n,) eV/Å.
            latent: per frame, (n,) distances; if given, a frame beyond ``latent_threshold`` is not trusted either.
        """
        _check(errors, sigmas, latent or sigmas)
        worst, spread = _largest(errors), _largest(sigmas)
        trusted = spread <= (-1.0 if self.trust_threshold is None else self.trust_threshold)
        if latent and self.latent_threshold is not None:
            trusted &= _largest(latent) <= self.latent_threshold
        covered = 0
        if self.quantile is not None:
            covered = int(np.sum(_scores(errors, sigmas, self.floor_eV_per_A) <= self.quantile))
        exceeding = int(np.sum(trusted & (worst > self.tolerance_eV_per_A)))
        n_trusted = int(trusted.sum())
        return Coverage(len(worst), covered, n_trusted, exceeding, clopper_pearson_upper(exceeding, n_trusted))

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


def frames_needed(confidence: float) -> int:
    """Smallest number of frames with a conformal quantile: 9 for 90 %."""
    return ceil(_tidy(1 / (1 - confidence))) - 1


def frames_to_prove(confidence: float) -> int:
    """Smallest number of trusted frames, none exceeding, that prove the promise: 29 for 90 %."""
    return ceil(log(1 - BOUND_CONFIDENCE) / log(confidence))


def conformal_quantile(scores: Array, confidence: float) -> float | None:
    """Split-conformal quantile: the ⌈(n + 1) confidence⌉-th smallest score, None if there are not that many."""
    rank = ceil(_tidy((len(scores) + 1) * confidence))
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else None


def clopper_pearson_upper(events: int, trials: int) -> float:
    """One-sided 95 % upper bound of a binomial rate; 1 without trials."""
    return 1.0 if events >= trials else float(beta.ppf(BOUND_CONFIDENCE, events + 1, trials - events))


def proven_threshold(spread: Array, exceeds: NDArray[np.bool_], confidence: float) -> float | None:
    """Largest spread up to which the bound on the error rate is at most 1 - confidence, None if there is none.

    Thresholds are tried in ascending order from the first that could pass, and the first failure ends the walk:
    in a fixed sequence each test may use the whole 5 % (choosing the best of all thresholds afterwards may not).
    """
    order = np.argsort(spread, kind="stable")
    spread, events = spread[order], np.cumsum(exceeds[order])
    proven = None
    for count in range(frames_to_prove(confidence), len(spread) + 1):
        if count < len(spread) and spread[count] == spread[count - 1]:
            continue
        if clopper_pearson_upper(int(events[count - 1]), count) > 1 - confidence + 1e-12:
            break
        proven = float(spread[count - 1])
    return proven


def _discard(tolerance: float, quantile: float | None, threshold: float | None, factor: float) -> float | None:
    """Spread whose predicted error (quantile × spread) is ``factor`` tolerances, and above the trust threshold."""
    if quantile is None or threshold is None:
        return None
    return max(factor * tolerance / quantile, threshold)


def _scores(errors: Sequence[Array], sigmas: Sequence[Array], floor: float) -> Array:
    return np.array([np.max(e / np.maximum(s, floor)) for e, s in zip(errors, sigmas, strict=True)])


def _largest(per_frame: Sequence[Array]) -> Array:
    return np.array([np.max(values) for values in per_frame], dtype=np.float64)


def _tidy(value: float) -> float:
    """Remove the float noise that would lift 9.000000000000002 to 10 frames."""
    return round(value, 9)


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
