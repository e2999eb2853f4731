"""The screen: is every atom's force uncertainty below the trust threshold, at the price of one backward pass?

A probe g = Σ_k v_k (F_k - F̄) / √(K - 1), v ~ N(0, 1), gives every atom a random vector g_i ~ N(0, Σ_i), where Σ_i is
the committee's covariance of that atom's force, and E|g_i|² = tr Σ_i = σ_i², the square of the uncertainty that
verdicts are about. One probe is noisy: with a single direction of disagreement (rank one) |g_i|²/σ_i² is a chi-square
number with one degree of freedom. The screen therefore adds the squares of the last m checks and asks for quantiles.

Why a plain chi-square quantile is enough. A sum of m independent |g_i|², each with tr Σ_i ≥ T², is a sum of squared
normal numbers whose weights add up to at least T² for every check. Far below its mean such a sum is likeliest to be
small, and far above it to be large, when each check's weight lies in one direction, that is when Σ_i has rank one: the
distribution function is Schur-convex in the weights there (Székely and Bakirov, Probab. Theory Relat. Fields 126
(2003) 184; Roosta-Khorasani and Székely, arXiv:1601.04731). So P(sum ≤ T² χ²_m(β)) ≤ β whatever K and the shapes of
Σ_i, which may change from check to check.
"""

from collections import deque
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

Array = NDArray[np.float64]


class ForceScreen:
    """Decide at each check of a trajectory whether the exact force uncertainty has to be computed.

    It has to be

    - at the first check, and after an exact value above the threshold: nothing is known, or nothing good;
    - at any check where the squares since the last exact value are too large for an atom at the threshold
      (quantile 1 - false_alarm_probability / n of chi-square, for the largest of n atoms);
    - once the window is full, wherever its sum is not too small for an atom at the threshold (quantile
      miss_probability of chi-square): the uncertainty cannot be ruled out to be above.

    After an exact value the window starts anew, so that a trusted trajectory costs at most one exact value per window,
    however close to the threshold it runs; below √(χ²_m(β)/m) of it, less the noise, there is none at all (three
    quarters of the threshold with the default window, in practice half).

    Promise: an atom whose uncertainty is above the threshold at each of ``window`` successive checks is confirmed by an
    exact value within them with probability 1 - miss_probability or more. The number of atoms does not weaken this: the
    one atom is enough. Nothing is promised of an excursion that lasts for fewer checks; the farther it goes above the
    threshold, the sooner it is found. The checks must be those of one trajectory, evenly spaced or not, and the
    trajectory must not depend on the probes.

    Args:
        trust_threshold_eV_per_A: T, of σ_i = √tr Σ_i, the norm of an atom's three standard deviations.
        window: m, number of checks that are added up. Longer: fewer exact values, a later answer.
        miss_probability: β.
        false_alarm_probability: of an exact value at a check before the window is full, with no atom above T.
        seed: of the probes.

    Attributes:
        checks: number of checks so far.
        confirmations: number of those that needed the exact value.

    Raises:
        ValueError: a threshold that is not positive, no window, or a probability outside (0, 0.5].
    """

    def __init__(
        self,
        trust_threshold_eV_per_A: float,
        *,
        window: int = 40,
        miss_probability: float = 0.01,
        false_alarm_probability: float = 0.001,
        seed: int = 0,
    ):
        _check(trust_threshold_eV_per_A, window, miss_probability, false_alarm_probability)
        self.trust_threshold_eV_per_A = trust_threshold_eV_per_A
        self.window = window
        self.miss_probability = miss_probability
        self.false_alarm_probability = false_alarm_probability
        self.checks = 0
        self.confirmations = 0
        self._random = np.random.default_rng(seed)
        self._squares: deque[Array] = deque(maxlen=window)
        self._trusted = False

    @property
    def needs_exact(self) -> bool:
        """Whether the next check needs the exact value whatever a probe says, so that none need be made."""
        return not self._trusted

    def draw(self, members: int) -> Array:
        """Return the weights (K,) of the members' deviations in the next probe: v / √(K - 1)."""
        weights: Array = self._random.standard_normal(members) / np.sqrt(members - 1)
        return weights

    def check(self, squares: Array) -> bool:
        """Take one probe of the current frame; return whether the exact value is needed.

        Args:
            squares: (n,) |g_i|² of each atom, eV²/Å². NaN needs the exact value.

        Raises:
            ValueError: another number of atoms than at the last check; ``restart`` for another trajectory.
        """
        if self._squares and len(squares) != len(self._squares[-1]):
            raise ValueError(
                f"A screen follows one trajectory: expected {len(self._squares[-1])} atoms as at the last check, "
                f"received {len(squares)}. Call restart() before another system."
            )
        self._squares.append(np.asarray(squares, dtype=np.float64))
        passed = self._trusted and bool(np.all(self._sums() <= self._limit(len(squares))))
        self.checks += passed  # one that did not pass is counted when it is confirmed
        return not passed

    def confirmed(self, sigma: Array) -> None:
        """Take the exact value of the current frame, which ends a check: the window starts anew.

        Args:
            sigma: (n,) exact uncertainty of each atom, eV/Å.
        """
        self.checks += 1
        self.confirmations += 1
        self._squares.clear()
        self._trusted = bool(np.all(sigma <= self.trust_threshold_eV_per_A))

    def restart(self) -> None:
        """Forget the trajectory: the next check is the first of another one."""
        self._squares.clear()
        self._trusted = False

    @property
    def bound(self) -> Array | None:
        """(n,) eV/Å, upper confidence bound (1 - miss_probability) of each atom's root mean square over the window.

        None until the window is full. It is below the threshold for every atom wherever the screen passes.
        """
        if len(self._squares) < self.window:
            return None
        bound: Array = np.sqrt(self._sums() / _quantile(self.miss_probability, self.window))
        return bound

    def _sums(self) -> Array:
        sums: Array = np.sum(self._squares, axis=0)
        return sums

    def _limit(self, n_atoms: int) -> float:
        """Sum of squares up to which no exact value is needed, eV²/Å²."""
        held = len(self._squares)
        tail = self.miss_probability if held == self.window else 1 - self.false_alarm_probability / n_atoms
        return self.trust_threshold_eV_per_A**2 * _quantile(tail, held)


@cache
def _quantile(probability: float, degrees_of_freedom: int) -> float:
    return float(chi2.ppf(probability, degrees_of_freedom))


def _check(threshold: float, window: int, *probabilities: float) -> None:
    if not (np.isfinite(threshold) and threshold > 0):
        raise ValueError(
            f"trust_threshold_eV_per_A must be a positive number, received {threshold}. "
            "It comes from a calibrated committee: calibration.trust_threshold."
        )
    if window < 1:
        raise ValueError(f"window must be at least 1 check, received {window}")
    if not all(0 < p <= 0.5 for p in probabilities):  # noqa: PLR2004
        raise ValueError(f"miss_probability and false_alarm_probability must be in (0, 0.5], received {probabilities}")
