"""Statistics of the guarantee: conformal quantile, bound of a rate, and thresholds that frames confirm or prove."""

from math import ceil, log

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

BOUND_CONFIDENCE = 0.95  # confidence of the one-sided upper bound on the error rate among trusted frames

Array = NDArray[np.float64]


def frames_needed(confidence: float) -> int:
    """Return the smallest number of frames with a conformal quantile and with a threshold: 9 for 90 %."""
    return ceil(_tidy(1 / (1 - confidence))) - 1


def frames_to_prove(confidence: float) -> int:
    """Return the smallest number of trusted frames, none exceeding, that prove the guarantee: 29 for 90 %."""
    return ceil(log(1 - BOUND_CONFIDENCE) / log(confidence))


def conformal_quantile(scores: Array, confidence: float) -> float | None:
    """Return the split-conformal quantile: the ⌈(n + 1) confidence⌉-th smallest score, None with too few scores."""
    rank = ceil(_tidy((len(scores) + 1) * confidence))
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else None


def clopper_pearson_upper(events: int, trials: int) -> float:
    """Return the one-sided 95 % upper bound of a binomial rate; 1 without trials."""
    return 1.0 if events >= trials else float(beta.ppf(BOUND_CONFIDENCE, events + 1, trials - events))


def proven_threshold(uncertainty: Array, exceeds: NDArray[np.bool_], confidence: float) -> float | None:
    """Return the largest uncertainty up to which the bound on the error rate is at most 1 - confidence, or None.

    Thresholds are tested in ascending order from the first that could pass, up to the first failure: in a fixed
    sequence each test may use the whole 5 % (a choice of the best of all thresholds afterwards may not).

    Args:
        uncertainty: (frames,) any measure of uncertainty.
        exceeds: (frames,) whether the frame's largest error is above the tolerance.
        confidence: guaranteed fraction of trusted frames within the tolerance.
    """
    order = np.argsort(uncertainty, kind="stable")
    uncertainty, events = uncertainty[order], np.cumsum(exceeds[order])
    proven = None
    for count in range(frames_to_prove(confidence), len(uncertainty) + 1):
        if count < len(uncertainty) and uncertainty[count] == uncertainty[count - 1]:
            continue
        if clopper_pearson_upper(int(events[count - 1]), count) > 1 - confidence + 1e-12:
            break
        proven = float(uncertainty[count - 1])
    return proven


def confirmed_threshold(
    uncertainty: Array, exceeds: NDArray[np.bool_], threshold: float, confidence: float
) -> float | None:
    """Return the largest threshold up to the given one that the frames below it confirm, or None.

    n frames of which k exceed the tolerance confirm a threshold if (k + 1) / (n + 1) is at most 1 - confidence: the
    next exchangeable frame is counted as exceeding. At 90 % this needs 9 frames without one that exceeds, or 19 with.

    Args:
        uncertainty: (frames,) any measure of uncertainty.
        exceeds: (frames,) whether the frame's largest error is above the tolerance.
        threshold: largest uncertainty that is tried.
        confidence: fraction of frames within the tolerance.
    """
    order = np.argsort(uncertainty, kind="stable")
    uncertainty, events = uncertainty[order], np.cumsum(exceeds[order])
    below = int(np.searchsorted(uncertainty, threshold, side="right"))
    for count in range(below, 0, -1):
        if count < below and uncertainty[count] == uncertainty[count - 1]:
            continue
        if (events[count - 1] + 1) / (count + 1) <= 1 - confidence + 1e-12:
            return threshold if count == below else float(uncertainty[count - 1])
    return None


def _tidy(value: float) -> float:
    """Remove the rounding error that would raise 9.000000000000002 to 10 frames."""
    return round(value, 9)
