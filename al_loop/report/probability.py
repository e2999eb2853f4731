"""The figure of the conditional guarantee: probability of an error above the tolerance, against the uncertainty."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.stats import binomtest

from al_loop.report.style import ACCENT, FOUNDATION, GOOD, INK, SERVED, plain_log_ticks, png, stacked_axes
from al_loop.report.tables import CALIBRATION
from committee.uncertainty.calibration import Calibration
from committee.uncertainty.score import FLOOR

Arrays = dict[str, NDArray[Any]]

HOME = "same conditions"
GROUP_FRAMES = 8  # frames of similar uncertainty whose share above the tolerance is shown
_MOST_GROUPS = 6
_MARKERS = (("D", FOUNDATION), ("o", SERVED), ("^", ACCENT))  # of calibration, same conditions, other conditions
_OUTSIDE = 0.05, 0.05, 0.12  # how far below 0 or above 1 their marks are in the upper panel


def probability_curve(evaluation: Arrays, calibration: Calibration | None) -> bytes | None:
    """Draw P(largest force error > tolerance) against a frame's uncertainty, and the held-out frames.

    The upper panel has the estimate of the error model, a mark for each frame (below 0: its largest error is within
    the tolerance, above 1: it is not), and what was observed on frames that did not calibrate: the share above the
    tolerance in groups of similar uncertainty, with 95 % intervals. The lower panel has the largest errors in units of
    the tolerance. Frames of the calibration frames' conditions are told apart from those of others.

    Args:
        evaluation: arrays of the served model.
        calibration: of the served model; None before there is one.
    """
    if calibration is None or calibration.error_model is None or not evaluation:
        return None
    uncertainty, ratio = evaluation["uncertainty"], evaluation["max_force_error"] / calibration.tolerance_eV_per_A
    usable = np.isfinite(uncertainty) & np.isfinite(ratio) & (uncertainty > 0)
    if not usable.any():
        return None
    kinds = {name: chosen & usable for name, chosen in _kinds(evaluation).items()}
    with stacked_axes("Probability of an error above the tolerance") as (upper, lower):
        lower.set_xscale("log")
        lower.set_yscale("log")
        for (name, chosen), (marker, colour), outside in zip(kinds.items(), _MARKERS, _OUTSIDE, strict=True):
            if not chosen.any():
                continue
            x, y = uncertainty[chosen], ratio[chosen]
            style: dict[str, Any] = {"marker": marker, "color": colour, "alpha": 0.75, "linewidths": 0}
            label = f"{name}: {np.sum(y > 1)} of {len(y)} above"
            lower.scatter(x, np.maximum(y, FLOOR), s=24, label=label, **style)
            upper.scatter(x, np.where(y > 1, 1 + outside, -outside), s=14, **style)
        _shares(upper, uncertainty[kinds[HOME]], ratio[kinds[HOME]] > 1)
        lower.axhline(1.0, color=INK, linestyle="--", linewidth=1.0)
        lower.margins(0.06)
        _estimate(upper, calibration)
        _threshold(upper, lower, calibration)
        plain_log_ticks(lower.xaxis)
        plain_log_ticks(lower.yaxis)
        upper.set_ylabel(f"P(error > {calibration.tolerance_eV_per_A:g} eV/Å)")
        lower.set_ylabel("largest force error / tolerance")
        lower.set_xlabel("uncertainty of the frame (eV/Å)")
        upper.figure.legend(loc="outside lower center", ncols=2)
        return png(upper)


def _kinds(evaluation: Arrays) -> dict[str, NDArray[np.bool_]]:
    """Which frames calibrated, and which others are of their conditions or of other ones."""
    home = evaluation["home"]
    calibrating = home & (evaluation["role"] == CALIBRATION)
    return {"calibration frames": calibrating, HOME: home & ~calibrating, "other conditions": ~home}


def _shares(panel: Axes, uncertainty: NDArray[np.float64], exceeds: NDArray[np.bool_]) -> None:
    """Share above the tolerance with its 95 % interval, in groups of equal size."""
    count = min(_MOST_GROUPS, len(uncertainty) // GROUP_FRAMES)
    if not count:
        return
    order = np.argsort(uncertainty)
    groups = np.array_split(order, count)
    tests = [binomtest(int(exceeds[group].sum()), len(group)) for group in groups]
    share = np.array([test.statistic for test in tests])
    bounds = np.array([test.proportion_ci(0.95, method="wilson") for test in tests])
    middle = np.exp([np.log(uncertainty[group]).mean() for group in groups])
    error = np.abs(bounds.T - share)
    panel.errorbar(
        middle,
        share,
        error,
        fmt="s",
        color=INK,
        markersize=4,
        elinewidth=1.0,
        capsize=2,
        label="observed, same conditions",
    )


def _estimate(panel: Axes, calibration: Calibration) -> None:
    low, high = panel.get_xlim()
    grid = np.geomspace(low, high, 300)
    estimate = calibration.probability_above_tolerance(grid)
    if estimate is not None:
        panel.plot(grid, estimate, color=INK, label="estimate, calibration frames")
    panel.set_xlim(low, high)
    limit = 1 - calibration.confidence
    panel.axhline(limit, color=GOOD, linestyle="--", linewidth=1.0, label=f"1 − confidence: {limit:.2g}")
    margin = max(_OUTSIDE) + 0.05
    panel.set_ylim(-margin, 1 + margin)
    panel.set_yticks(np.linspace(0, 1, 6))


def _threshold(upper: Axes, lower: Axes, calibration: Calibration) -> None:
    threshold = calibration.trust_threshold
    if not threshold:
        upper.text(0.02, 0.84, "no frame is trusted", transform=upper.transAxes, color=ACCENT, va="top")
        return
    for panel, label in ((upper, f"trusted up to {threshold:.3g} eV/Å"), (lower, None)):
        panel.axvline(threshold, color=GOOD, linestyle="-.", linewidth=1.2, label=label)
