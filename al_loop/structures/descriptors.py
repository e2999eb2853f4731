"""One descriptor vector per frame, small enough to store for 10^5 frames: the mean feature of each element."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Descriptor = NDArray[np.float32]

SMALLEST_SPREAD = 1e-4  # of a feature, relative to the size of all features: below it is only noise


def frame_descriptor(features: NDArray[np.floating], atomic_numbers: NDArray[np.integer]) -> Descriptor:
    """Mean feature of each element, elements ascending: (elements x D,), independent of the order of atoms.

    Only frames of the same composition have comparable descriptors.

    Args:
        features: (n, D).
        atomic_numbers: (n,).
    """
    means = [features[atomic_numbers == z].mean(axis=0) for z in np.unique(atomic_numbers)]
    return np.concatenate(means).astype(np.float32)


def standardised(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Descriptors of one composition (f, d), centred and scaled so that a typical distance is 1.

    Each feature is divided by the geometric mean of its own spread and that of all features, and by √(2 d). With its
    own spread alone, noise would count as much as signal; without it, the largest feature would dominate. The root
    mean square distance of two frames is then about 1.
    """
    centred = points - points.mean(axis=0)
    spread = centred.std(axis=0, dtype=np.float64)
    common = float(np.sqrt(np.square(spread).mean()))
    floor = SMALLEST_SPREAD * max(float(np.sqrt(np.square(points, dtype=np.float64).mean())), 1e-12)
    scale = np.sqrt(np.maximum(spread, floor) * max(common, floor))
    return np.asarray(centred / (scale * np.sqrt(2 * len(scale))), dtype=np.float32)


def stacked(descriptors: Sequence[Descriptor]) -> NDArray[np.float32]:
    """Descriptors of one composition as rows (f, d)."""
    return np.stack(descriptors).astype(np.float32, copy=False)
