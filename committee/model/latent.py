"""Distance of an atom's features from those of the training frames, and the switching function of it."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.covariance import LedoitWolf
from sklearn.model_selection import GroupKFold
from torch import Tensor, nn

from committee.errors import TrainingDataError

_MATRIX = 2  # dimensions
UNKNOWN_DISTANCE = 1e3  # of an element without a training atom: beyond the end of every switching function


def switching_function(distance: Tensor, start: float, end: float) -> Tensor:
    """Return 1 up to ``start``, 0 from ``end``, and a twice continuously differentiable step in between.

    f = 1 - 10 t³ + 15 t⁴ - 6 t⁵ with t = (d - start) / (end - start), the quintic smoothstep.

    Args:
        distance: latent distance, any shape, 1 = typical of training frames.
        start: distance at which the correction starts to fall.
        end: distance from which it is zero.
    """
    t = ((distance - start) / (end - start)).clamp(0, 1)
    return 1 - t**3 * (10 - 15 * t + 6 * t**2)


class LatentDistance(BaseEstimator):  # type: ignore[misc]
    """Mahalanobis distance of an atom's features from the training atoms of its element.

    d = |W_Z (h - μ_Z)| / (√D s_Z), where W_Z whitens by the Ledoit-Wolf covariance of the element's features and s_Z
    is the median of the same distance on held-out frames (K folds over groups): the covariance of a few frames
    overfits them, so that with a scale from the same frames every new frame would be distant.

    Args:
        folds: number of folds over groups for the scale.

    Attributes:
        elements_: (Z,) atomic numbers of the training elements, ascending.
        means_: (Z, D).
        whiteners_: (Z, D, D), already divided by √D and by the scale.
        scales_: (Z,) the scale s_Z.
    """

    def __init__(self, folds: int = 5):
        self.folds = folds

    def fit(
        self,
        features: NDArray[np.floating],
        atomic_numbers: NDArray[np.integer],
        groups: NDArray[np.integer],
    ) -> Self:
        """Fit mean, whitener and scale of each element to training atoms.

        Args:
            features: (N, D).
            atomic_numbers: (N,).
            groups: (N,) atoms of one group (frame or trajectory) are never on both sides of a fold.

        Raises:
            TrainingDataError: no atoms, or features that are not finite.
        """
        values: NDArray[np.float64] = np.asarray(features, dtype=np.float64)
        if values.ndim != _MATRIX or len(values) == 0 or not np.isfinite(values).all():
            raise TrainingDataError(f"Latent distance needs finite features (N, D), received shape {values.shape}.")
        self.elements_ = np.unique(atomic_numbers)
        self.means_, whiteners = _metric(values, atomic_numbers, self.elements_)
        self.scales_ = self._scales(values, atomic_numbers, np.asarray(groups))
        self.whiteners_ = whiteners / self.scales_[:, None, None]
        return self

    def predict(self, features: NDArray[np.floating], atomic_numbers: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the distance of each atom: features (N, D), atomic numbers (N,) -> (N,)."""
        return _evaluated(self.metric(), np.asarray(features, dtype=np.float64), np.asarray(atomic_numbers))

    def metric(self, dtype: torch.dtype = torch.float64) -> "LatentMetric":
        """Return the same distance as a differentiable module."""
        return LatentMetric(self.elements_, self.means_, self.whiteners_, dtype)

    def _scales(
        self, features: NDArray[np.float64], atomic_numbers: NDArray[np.integer], groups: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        held_out = np.full(len(features), np.nan)
        n_groups = len(np.unique(groups))
        if n_groups > 1:
            for train, test in GroupKFold(min(self.folds, n_groups)).split(features, groups=groups):
                elements = np.unique(atomic_numbers[train])
                metric = LatentMetric(elements, *_metric(features[train], atomic_numbers[train], elements))
                distances = _evaluated(metric, features[test], atomic_numbers[test])
                held_out[test] = np.where(np.isin(atomic_numbers[test], elements), distances, np.nan)
        return _typical(held_out, atomic_numbers, self.elements_)


class LatentMetric(nn.Module):
    """The distance for elements (Z,), means (Z, D) and whiteners (Z, D, D), differentiable in the features."""

    means: Tensor
    whiteners: Tensor

    def __init__(
        self,
        elements: Sequence[int] | NDArray[np.integer],
        means: NDArray[np.float64],
        whiteners: NDArray[np.float64],
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        self.elements = tuple(int(z) for z in elements)
        self.register_buffer("means", torch.as_tensor(means, dtype=dtype))
        self.register_buffer("whiteners", torch.as_tensor(whiteners, dtype=dtype))

    def forward(self, features: Tensor, atomic_numbers: Tensor) -> Tensor:
        """Return the distance of each atom: features (N, D), atomic numbers (N,) -> (N,)."""
        distance = features.new_full((len(features),), UNKNOWN_DISTANCE)
        for element, mean, whitener in zip(self.elements, self.means, self.whiteners, strict=True):
            mine = torch.nonzero(atomic_numbers == element).flatten()
            whitened = (features[mine] - mean) @ whitener
            # The square root is not differentiable at zero: a floor far below any distance keeps the gradient finite.
            distance = distance.index_copy(0, mine, (whitened.square().sum(-1) + 1e-12).sqrt())
        return distance


def _metric(
    features: NDArray[np.float64], atomic_numbers: NDArray[np.integer], elements: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean (Z, D) and whitener (Z, D, D), divided by √D, of each element."""
    dimension = features.shape[1]
    means = np.stack([features[atomic_numbers == z].mean(0) for z in elements])
    centred = features - means[np.searchsorted(elements, atomic_numbers)]
    floor = 1e-6 * max(float(np.square(features).mean()), 1e-12)
    whiteners = np.empty((len(elements), dimension, dimension))
    for row, z in enumerate(elements):
        mine = centred[atomic_numbers == z]
        # One atom has no covariance: that of all elements is used instead.
        values, vectors = np.linalg.eigh(_covariance(mine if len(mine) > 1 else centred))
        whiteners[row] = vectors / np.sqrt(np.maximum(values, floor) * dimension)
    return means, whiteners


def _covariance(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the covariance (D, D) of atoms (N, D); zero for a single atom."""
    if len(centred) == 1:
        return np.zeros((centred.shape[1], centred.shape[1]))
    covariance: NDArray[np.float64] = LedoitWolf(assume_centered=True).fit(centred).covariance_
    return covariance


def _evaluated(
    metric: LatentMetric, features: NDArray[np.float64], atomic_numbers: NDArray[np.integer]
) -> NDArray[np.float64]:
    distances: NDArray[np.float64] = metric(torch.as_tensor(features), torch.as_tensor(atomic_numbers)).numpy()
    return distances


def _typical(
    held_out: NDArray[np.float64], atomic_numbers: NDArray[np.integer], elements: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Return the median held-out distance of each element; without one, the largest of the other elements, or 1."""
    medians = np.full(len(elements), np.nan)
    for row, z in enumerate(elements):
        mine = held_out[atomic_numbers == z]
        mine = mine[np.isfinite(mine)]
        medians[row] = np.median(mine) if len(mine) else np.nan
    fallback = np.nanmax(medians) if np.isfinite(medians).any() else 1.0
    return np.maximum(np.where(np.isfinite(medians), medians, fallback), 1e-6)
