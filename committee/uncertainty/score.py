"""Uncertainty of an atom and of a frame, from the committee's spread and the latent distance.

The two are complementary: the spread ranks frames similar to the training set, the distance detects frames outside
it. An atom's uncertainty is u = σ √max(d, 1): under a shift of temperature the errors grow as fast as σ or a little
faster, and slower than σ d, which rises up to tenfold above them. A frame's is the mean of its 16 largest: the mean
over atoms predicts the frame's largest error better than the largest atom does, since one atom's spread over a few
members is noisy; with at most 16 atoms in it, a failure of a few atoms still counts in a large frame.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MIN_DISTANCE = 1.0  # a distance below the typical one does not correlate with the error
FLOOR = 0.05  # lower bound of spreads and errors, in units of the tolerance, in ratios and logarithms
MEAN_OVER_ATOMS = 16  # 8 were worse under a shift of temperature, all 27 atoms of a molecule no better

Array = NDArray[np.float64]


def atomic_uncertainty(sigma: Array, latent: Array) -> Array:
    """Return the uncertainty (n,) in eV/Å of atoms with force spread (n,) eV/Å and latent distance (n,)."""
    uncertainty: Array = sigma * distance_factor(latent)
    return uncertainty


def distance_factor(latent: Array) -> Array:
    """Return the factor (n,) by which a latent distance (n,) raises an atom's uncertainty, at least 1."""
    factor: Array = np.sqrt(np.maximum(latent, MIN_DISTANCE))
    return factor


def mean_of_largest(values: Array) -> float:
    """Return the mean of the ``MEAN_OVER_ATOMS`` largest of the values (n,), NaN where one of them is."""
    return float(np.sort(values)[-MEAN_OVER_ATOMS:].mean())


def largest(per_frame: Sequence[Array]) -> Array:
    """Return the largest value of each frame, (frames,)."""
    return np.array([np.max(values) for values in per_frame], dtype=np.float64)
