"""How a slip of unit, sign or order is told from a foundation's own error: what all checks of labels share."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MIN_FRAMES = 4
AGREEMENT = 0.8  # cosine beyond which directions agree; honest labels of bad foundations lie anywhere below and above
FAR_TOLERANCE = 1.6  # factor between the observed ratio and a unit's


def cosine(one: Array, other: Array) -> float:
    """Cosine of the angle between two arrays as vectors; 0 where one is zero."""
    sizes = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float((one * other).sum()) / sizes if sizes > 0 else 0.0


def near_units(ratio: float, units: Mapping[str, float], tolerance: float = FAR_TOLERANCE) -> str:
    """Name the units whose number for 1 of the right unit is near a ratio, the nearest first; empty if none is."""
    distances = {name: abs(float(np.log(ratio / factor))) for name, factor in units.items()}
    near = [name for name in units if distances[name] < np.log(tolerance)]
    return " or ".join(sorted(near, key=distances.__getitem__)[:2])
