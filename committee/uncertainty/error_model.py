"""Probability of a frame's largest force error given the frame's own uncertainty, estimated from calibration frames.

log e = a + b (log u - m) + s t, with t Student's t of n - 2 degrees of freedom and the uncertainty of a and b included
(the prediction interval of a linear regression). Two slopes keep the estimate from being flatter than the data allow:

- Above the mean uncertainty of the calibration frames the slope is the fitted one and at least 1, since a spread is a
  scale of errors. Frames of one condition differ little in u, and noise in u flattens their slope (regression
  dilution); under a shift u rises tenfold and the errors with it.
- Below it the slope is the fitted one and at least 0: errors fall with u only as far as the frames show it.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import t as student

MIN_FRAMES = 3  # of a regression with two parameters
MIN_SLOPE_ABOVE = 1.0
MIN_LOG_SPREAD = 0.05  # of u: frames that differ by less do not determine a slope

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ErrorModel:
    """Distribution of the logarithm of a frame's largest force error, given the frame's uncertainty.

    Attributes:
        frames: n, number of calibration frames.
        log_uncertainty: m, mean of log u, u in eV/Å.
        log_uncertainty_variance: of log u.
        log_error: a, mean of log e, e in eV/Å.
        slope_below: b for u below exp(m).
        slope_above: b for u above exp(m).
        log_residual: s, standard deviation of log e around the line.
    """

    frames: int
    log_uncertainty: float
    log_uncertainty_variance: float
    log_error: float
    slope_below: float
    slope_above: float
    log_residual: float

    @classmethod
    def fit(cls, uncertainty: Array, error: Array) -> Self | None:
        """Fit the model; None with fewer than three frames.

        Args:
            uncertainty: (frames,) uncertainty of each frame, eV/Å, positive.
            error: (frames,) largest force error of each frame, eV/Å, positive.
        """
        n = len(uncertainty)
        if n < MIN_FRAMES:
            return None
        x, y = np.log(uncertainty), np.log(error)
        dx, dy = x - x.mean(), y - y.mean()
        variance = max(float(np.mean(dx**2)), MIN_LOG_SPREAD**2)
        slope = float(np.mean(dx * dy)) / variance
        return cls(
            frames=n,
            log_uncertainty=float(x.mean()),
            log_uncertainty_variance=variance,
            log_error=float(y.mean()),
            slope_below=max(slope, 0.0),
            slope_above=max(slope, MIN_SLOPE_ABOVE),
            log_residual=float(np.sqrt(np.sum((dy - slope * dx) ** 2) / (n - 2))),
        )

    def probability_above(self, tolerance_eV_per_A: float, uncertainty: Array) -> Array:
        """Return the estimated probability (frames,) that the largest error is above the tolerance.

        It never falls with rising uncertainty.

        Args:
            tolerance_eV_per_A: of the largest error.
            uncertainty: (frames,) uncertainty of each frame, eV/Å, positive.
        """
        # The line's own uncertainty grows with the distance from the calibration frames and turns the probability
        # around at one point: far below them a smaller u is no reason for a larger estimate, nor far above for less.
        x, margin = np.log(uncertainty) - self.log_uncertainty, np.log(tolerance_eV_per_A) - self.log_error
        turn = (self.frames + 1) * self.log_uncertainty_variance
        if margin > 0:
            x = np.maximum(x, -self.slope_below * turn / margin)
        elif margin < 0:
            x = np.minimum(x, -self.slope_above * turn / margin)
        center, width = self._center_and_width(x + self.log_uncertainty)
        probability: Array = student.sf((np.log(tolerance_eV_per_A) - center) / width, self.frames - 2)
        return probability

    def largest_uncertainty(self, tolerance_eV_per_A: float, confidence: float, candidates: Array) -> float | None:
        """Return the largest uncertainty at which an error above the tolerance has a probability of 1 - confidence.

        Below the mean of the calibration frames only the candidates are tried, so that the result is never below the
        range of the data.

        Args:
            tolerance_eV_per_A: of the largest error.
            confidence: required probability of an error within it.
            candidates: (frames,) uncertainty of each calibration frame, eV/Å.
        """
        quantile = float(student.ppf(confidence, self.frames - 2))

        def excess(log_uncertainty: float) -> float:
            center, width = self._center_and_width(np.array([log_uncertainty]))
            return float(center[0] + quantile * width[0] - np.log(tolerance_eV_per_A))

        middle = self.log_uncertainty
        if excess(middle) <= 0:
            # The slope is at least 1 there, so that the bound is above the tolerance after this many units.
            end = middle + np.log(tolerance_eV_per_A) - self.log_error + 1
            return float(np.exp(brentq(excess, middle, end)))
        within = [u for u in candidates if np.log(u) < middle and excess(float(np.log(u))) <= 0]
        return float(max(within)) if within else None

    def _center_and_width(self, log_uncertainty: Array) -> tuple[Array, Array]:
        """Return the median of log e and the scale of its distribution, at (frames,) values of log u."""
        x = log_uncertainty - self.log_uncertainty
        center = self.log_error + np.where(x < 0, self.slope_below, self.slope_above) * x
        leverage = (1 + x**2 / self.log_uncertainty_variance) / self.frames
        width: Array = max(self.log_residual, 1e-9) * np.sqrt(1 + leverage)
        return center, width
