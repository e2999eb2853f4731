"""Combined uncertainty of the committee's spread and the latent distance, weighted by how well each predicts errors.

The two are complementary: the spread ranks frames similar to the training set, the distance detects frames outside
it. u = τ (σ/τ)^b max(d, 1)^c with b, c >= 0 fitted to log(largest error) of held-out frames ranks frames like the
error predicted from both. A distance below the typical one (d < 1) does not correlate with the error: including it
made the ranking among frames similar to the training set worse.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

FLOOR = 0.05  # lower bound of the spread, in units of the tolerance, so that no ratio is taken with a spread near zero
MIN_DISTANCE = 1.0  # lower bound of the latent distance
PRIOR_POWERS = (1.0, 1.0)  # a good compromise for crystals and a molecule, with 16 frames as with 120
PRIOR_FRAMES = 8.0  # weight of this prior, in frames

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """Combined uncertainty of an atom; with the default powers, the spread alone.

    Attributes:
        tolerance_eV_per_A: τ.
        spread_power: b.
        distance_power: c.
    """

    tolerance_eV_per_A: float
    spread_power: float = 1.0
    distance_power: float = 0.0

    @classmethod
    def fit(
        cls, errors: Sequence[Array], sigmas: Sequence[Array], latent: Sequence[Array], tolerance_eV_per_A: float
    ) -> Self:
        """Fit the powers by least squares over frames, regularised towards typical powers while frames are few.

        Args:
            errors: per frame, (n,) norm of the force error on each atom, eV/Å.
            sigmas: per frame, (n,) norm of each atom's force spread, eV/Å.
            latent: per frame, (n,) latent distance.
            tolerance_eV_per_A: τ.
        """
        floor = FLOOR * tolerance_eV_per_A
        logs = np.log(np.stack([np.maximum(largest(sigmas), floor), np.maximum(largest(latent), MIN_DISTANCE)], axis=1))
        target = np.log(np.maximum(largest(errors), floor))
        logs, target = logs - logs.mean(0), target - target.mean()
        # Rows equivalent to PRIOR_FRAMES frames with the variance of the data and the prior powers.
        prior = np.diag(np.sqrt(PRIOR_FRAMES) * np.maximum(logs.std(0), 1e-3))
        powers, _ = nnls(np.concatenate([logs, prior]), np.concatenate([target, prior @ np.array(PRIOR_POWERS)]))
        return cls(tolerance_eV_per_A, float(powers[0]), float(powers[1]))

    def __call__(self, sigma: Array, latent: Array) -> Array:
        """Return the combined uncertainty (n,) in eV/Å of atoms with spread (n,) eV/Å and latent distance (n,)."""
        unit = self.tolerance_eV_per_A
        spread: Array = unit * (np.maximum(sigma, FLOOR * unit) / unit) ** self.spread_power
        return spread * np.maximum(latent, MIN_DISTANCE) ** self.distance_power if self.distance_power else spread


def largest(per_frame: Sequence[Array]) -> Array:
    """Return the largest value of each frame, (frames,)."""
    return np.array([np.max(values) for values in per_frame], dtype=np.float64)
