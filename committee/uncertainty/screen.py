"""The screen: test whether a frame's force uncertainty is below the trust threshold, with one backward pass.

A probe g = Σ_k v_k (F_k - F̄) / √(K - 1), v ~ N(0, 1), gives every atom a random vector g_i ~ N(0, Σ_i), where Σ_i is
the committee's covariance of that atom's force, and E|g_i|² = tr Σ_i = σ_i², the square of the spread that the gate
uses. One probe is noisy: with a single direction of disagreement (rank one) |g_i|²/σ_i² is a chi-square number with
one degree of freedom. The screen therefore sums the squares of the last m checks and compares them with quantiles.

A frame's uncertainty is the mean of x_i = σ_i / T_i over its most uncertain atoms S (``score.mean_of_largest``),
trusted up to 1. The mean of x_i² is at least the square of that mean, and it is the expectation of the mean over S of
|g_i|²/T_i², so that sums of the latter decide. This is conservative by the ratio of the root mean square to the mean.

Why a plain chi-square quantile is sufficient: a sum of m independent |g_i|², each with tr Σ_i ≥ T², is a sum of squared
normal numbers whose weights add up to at least T² for every check (a T that differs between checks is divided out).
The probability of a sum far below its mean, and of one far above it, is largest when each check's weight is in one
direction, that is when Σ_i has rank one: the distribution function is Schur-convex in the weights there (Székely
and Bakirov, Probab. Theory Relat. Fields 126 (2003) 184; Roosta-Khorasani and Székely, arXiv:1601.04731). So
P(sum ≤ T² χ²_m(β)) ≤ β for every K and all shapes of Σ_i, which may change from check to check.
"""

from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from committee.uncertainty.calibration import Calibration
from committee.uncertainty.score import distance_factor, mean_of_largest

Array = NDArray[np.float64]
Threshold = Callable[[Array], Array]
"""Maps latent distances (n,) to the largest trusted spread T_i of each atom (n,), eV/Å; 0: none, inf: any."""


class ForceScreen:
    """Decide at each check of a trajectory whether the exact force uncertainty must be computed.

    It must be computed

    - at the first check, and after an exact value above the threshold;
    - at any check where the squares since the last exact value, mean of the largest atoms, are too large for atoms at
      the threshold (quantile 1 - false_alarm_probability / n of chi-square, n the number of atoms);
    - once the window is full, wherever that mean is not too small for atoms at the threshold (quantile
      miss_probability of chi-square): an uncertainty above the threshold cannot be excluded.

    An exact value clears the window, so that a trusted trajectory costs at most one exact value per window, however
    close to the threshold it is; below √(χ²_m(β)/m) of it, less the noise, none is needed (three quarters of the
    threshold with the default window, in practice half).

    Guarantee: a frame whose uncertainty is above the threshold at each of ``window`` successive checks, with the same
    atoms as the most uncertain ones, is confirmed by an exact value within them with probability 1 - miss_probability
    or more. With up to ``MEAN_OVER_ATOMS`` atoms they are always the same. There is no guarantee for an excursion of
    fewer checks; the higher it is above the threshold, the sooner it is detected. The checks must belong to one
    trajectory, evenly spaced or not, and the trajectory must not depend on the probes.

    Args:
        trust_threshold_eV_per_A: T, of the mean over the most uncertain atoms of σ_i = √tr Σ_i, the norm of an atom's
            three standard deviations; or a function of the latent distances that returns each atom's T_i, see
            ``from_calibration``.
        window: m, number of checks in the sum. Longer: fewer exact values, later detection.
        miss_probability: β.
        false_alarm_probability: of an exact value at a check before the window is full, with no atom above T.
        seed: random seed of the probes.

    Attributes:
        checks: number of checks so far.
        confirmations: number of those that needed the exact value.

    Raises:
        ValueError: the threshold is not positive, the window is empty, or a probability is outside (0, 0.5].
    """

    def __init__(
        self,
        trust_threshold_eV_per_A: float | Threshold,
        *,
        window: int = 40,
        miss_probability: float = 0.01,
        false_alarm_probability: float = 0.001,
        seed: int = 0,
    ):
        _check(window, miss_probability, false_alarm_probability)
        self._threshold = _constant(trust_threshold_eV_per_A)
        self.window = window
        self.miss_probability = miss_probability
        self.false_alarm_probability = false_alarm_probability
        self.checks = 0
        self.confirmations = 0
        self._random = np.random.default_rng(seed)
        self._squares: deque[Array] = deque(maxlen=window)  # in units of the thresholds
        self._trusted = False

    @classmethod
    def from_calibration(cls, calibration: Calibration | None, **settings: Any) -> Self:
        """Make a screen with the trust threshold of a calibration.

        An atom's uncertainty σ_i √max(d_i, 1) is compared with the trust threshold u, its spread σ_i therefore with
        T_i = u / √max(d_i, 1). The latent distance d_i is computed at every step, and T_i with it.

        Args:
            calibration: of the committee.
            **settings: as for the class.

        Raises:
            ValueError: the calibration has no trust threshold.
        """
        if calibration is None or calibration.trust_threshold is None:
            raise ValueError(
                "A screen needs a calibrated committee, received one without a trust threshold: calibrate on held-out "
                "frames, or give ForceScreen a threshold in eV/Å."
            )
        return cls(_calibrated(calibration.trust_threshold), **settings)

    @property
    def needs_exact(self) -> bool:
        """Whether the next check needs the exact value in any case, so that no probe is needed."""
        return not self._trusted

    def draw(self, members: int) -> Array:
        """Return the weights (K,) of the members' deviations in the next probe: v / √(K - 1)."""
        weights: Array = self._random.standard_normal(members) / np.sqrt(members - 1)
        return weights

    def check(self, squares: Array, latent_distance: Array) -> bool:
        """Add one probe of the current frame; return whether the exact value is needed.

        Args:
            squares: (n,) |g_i|² of each atom, eV²/Å². NaN needs the exact value.
            latent_distance: (n,).

        Raises:
            ValueError: another number of atoms than at the last check; ``restart`` for another trajectory.
        """
        if self._squares and len(squares) != len(self._squares[-1]):
            raise ValueError(
                f"A screen follows one trajectory: expected {len(self._squares[-1])} atoms as at the last check, "
                f"received {len(squares)}. Call restart() before another system."
            )
        self._squares.append(_relative(squares, self._threshold(latent_distance) ** 2))
        passed = self._trusted and bool(mean_of_largest(self._sums()) <= self._limit(len(squares)))
        self.checks += passed  # a check that did not pass is counted in ``confirmed``
        return not passed

    def confirmed(self, sigma: Array, latent_distance: Array) -> None:
        """Record the exact value of the current frame, which ends a check and clears the window.

        Args:
            sigma: (n,) exact spread of each atom's force, eV/Å.
            latent_distance: (n,).
        """
        self.checks += 1
        self.confirmations += 1
        self._squares.clear()
        self._trusted = bool(mean_of_largest(_relative(sigma, self._threshold(latent_distance))) <= 1)

    def restart(self) -> None:
        """Clear the state: the next check is the first of another trajectory."""
        self._squares.clear()
        self._trusted = False

    @property
    def relative_bound(self) -> Array | None:
        """(n,) upper confidence bound (1 - miss_probability) of each atom's spread in units of its threshold.

        It bounds the root mean square over the window; None until the window is full.
        """
        if len(self._squares) < self.window:
            return None
        bound: Array = np.sqrt(self._sums() / _quantile(self.miss_probability, self.window))
        return bound

    def _sums(self) -> Array:
        sums: Array = np.sum(self._squares, axis=0)
        return sums

    def _limit(self, n_atoms: int) -> float:
        """Return the sum of squares, in units of the thresholds, up to which no exact value is needed."""
        n_checks = len(self._squares)
        tail = self.miss_probability if n_checks == self.window else 1 - self.false_alarm_probability / n_atoms
        return _quantile(tail, n_checks)


@cache
def _quantile(probability: float, degrees_of_freedom: int) -> float:
    return float(chi2.ppf(probability, degrees_of_freedom))


def _relative(values: Array, units: Array) -> Array:
    """Return values divided by units that may be zero (result: infinity) or infinite (result: zero)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        relative: Array = np.where(units > 0, np.asarray(values, dtype=np.float64) / units, np.inf)
    return relative


def _constant(threshold: float | Threshold) -> Threshold:
    if callable(threshold):
        return threshold
    if not (np.isfinite(threshold) and threshold > 0):
        raise ValueError(
            f"trust_threshold_eV_per_A must be a positive number, received {threshold}. "
            "ForceScreen.from_calibration takes it from a calibrated committee."
        )
    return lambda latent_distance: np.full(len(latent_distance), threshold)


def _calibrated(trust_threshold: float) -> Threshold:
    return lambda latent_distance: trust_threshold / distance_factor(latent_distance)


def _check(window: int, *probabilities: float) -> None:
    if window < 1:
        raise ValueError(f"window must be at least 1 check, received {window}")
    if not all(0 < p <= 0.5 for p in probabilities):  # noqa: PLR2004
        raise ValueError(f"miss_probability and false_alarm_probability must be in (0, 0.5], received {probabilities}")
