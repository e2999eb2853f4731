"""One uncertainty from two: the committee's spread and the latent distance, weighed by how well each foretold errors.

Each knows what the other does not: the spread tells good from bad among frames like the training set, the distance
where the committee has never been. u = τ (σ/τ)^b max(d, 1)^c with b, c >= 0 fitted to log(largest error) of frames that
the fit of the heads has not seen ranks frames like the error predicted from both. Nearer than typical (d < 1) tells
nothing of the error: counting it made the ranking among frames like the training set worse.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

FLOOR = 0.05  # smallest spread that counts, in units of the tolerance: no ratio is taken with a spread near zero
NEAREST = 1.0  # smallest latent distance that counts
PRIOR_POWERS = (1.0, 1.0)  # a good compromise of crystals and a molecule, with 16 frames as with 120
PRIOR_FRAMES = 8.0  # how many frames this prior counts for

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """Combined uncertainty of an atom; as it stands, the spread alone.

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
        """Weigh spread and distance by least squares over frames, drawn towards typical powers while they are few.

        Args:
            errors: per frame, (n,) norm of the force error on each atom, eV/Å.
            sigmas: per frame, (n,) norm of each atom's force spread, eV/Å.
            latent: per frame, (n,) latent distance.
            tolerance_eV_per_A: τ.
        """
        floor = FLOOR * tolerance_eV_per_A
        lanes = np.log(np.stack([np.maximum(largest(sigmas), floor), np.maximum(largest(latent), NEAREST)], axis=1))
        target = np.log(np.maximum(largest(errors), floor))
        lanes, target = lanes - lanes.mean(0), target - target.mean()
        # Rows that stand for PRIOR_FRAMES frames with the lanes' own variance and the prior powers.
        prior = np.diag(np.sqrt(PRIOR_FRAMES) * np.maximum(lanes.std(0), 1e-3))
        powers, _ = nnls(np.concatenate([lanes, prior]), np.concatenate([target, prior @ np.array(PRIOR_POWERS)]))
        return cls(tolerance_eV_per_A, float(powers[0]), float(powers[1]))

    def __call__(self, sigma: Array, latent: Array) -> Array:
        """Combined uncertainty (n,) in eV/Å of atoms with spread (n,) eV/Å and latent distance (n,)."""
        unit = self.tolerance_eV_per_A
        spread: Array = unit * (np.maximum(sigma, FLOOR * unit) / unit) ** self.spread_power
        return spread * np.maximum(latent, NEAREST) ** self.distance_power if self.distance_power else spread


def largest(per_frame: Sequence[Array]) -> Array:
    """Largest value of each frame, (frames,)."""
    return np.array([np.max(values) for values in per_frame], dtype=np.float64)
