"""Criteria, shared by all label checks, that distinguish errors of the labels from a foundation's inaccuracy."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MIN_FRAMES = 4
AGREEMENT = 0.8  # cosine above which directions agree; with an inaccurate foundation correct labels may be below
FAR_TOLERANCE = 1.6  # largest factor between the observed ratio and that of a unit


def cosine(one: Array, other: Array) -> float:
    """Return the cosine of the angle between two arrays as vectors; 0 where one is zero."""
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float((one * other).sum()) / norms if norms > 0 else 0.0


def near_units(ratio: float, units: Mapping[str, float], tolerance: float = FAR_TOLERANCE) -> str:
    """Return the units whose conversion factor is close to a ratio, the closest first; empty if none is."""
    distances = {name: abs(float(np.log(ratio / factor))) for name, factor in units.items()}
    near = [name for name in units if distances[name] < np.log(tolerance)]
    return " or ".join(sorted(near, key=distances.__getitem__)[:2])
