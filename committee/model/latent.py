"""How far an atom's features are from those of known frames: 1 = typical of known frames."""

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
UNKNOWN_DISTANCE = 1e3  # an element without a single known atom: beyond every fade


class LatentDistance(BaseEstimator):  # type: ignore[misc]
    """Mahalanobis distance of an atom's features from the known atoms of its element.

    d = |W_Z (h - μ_Z)| / (√D s_Z), where W_Z whitens by the Ledoit-Wolf covariance of the element's features and s_Z
    is the median of the same distance for frames its covariance has not seen (K folds over groups): the covariance
    of a few frames fits those frames far too well, so that a scale taken from them would call every new frame far.

    Args:
        folds: number of folds over groups that set the scale.

    Attributes:
        elements_: (Z,) atomic numbers of the known elements, ascending.
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
        """Learn from known atoms.

        Args:
            features: (N, D).
            atomic_numbers: (N,).
            groups: (N,) atoms of one group (frame or trajectory) are never on both sides of a fold.

        Raises:
            TrainingDataError: no atoms, or features that are not finite.
        """
        known: NDArray[np.float64] = np.asarray(features, dtype=np.float64)
        if known.ndim != _MATRIX or len(known) == 0 or not np.isfinite(known).all():
            raise TrainingDataError(f"Latent distance needs finite features (N, D), received shape {known.shape}.")
        self.elements_ = np.unique(atomic_numbers)
        self.means_, whiteners = _metric(known, atomic_numbers, self.elements_)
        self.scales_ = self._scales(known, atomic_numbers, np.asarray(groups))
        self.whiteners_ = whiteners / self.scales_[:, None, None]
        return self

    def predict(self, features: NDArray[np.floating], atomic_numbers: NDArray[np.integer]) -> NDArray[np.float64]:
        """Distance of each atom: features (N, D), atomic numbers (N,) -> (N,)."""
        asked: NDArray[np.float64] = np.asarray(features, dtype=np.float64)
        return _distances(asked, np.asarray(atomic_numbers), self.elements_, self.means_, self.whiteners_)

    def metric(self, dtype: torch.dtype = torch.float64) -> "LatentMetric":
        """Return the same distance as a differentiable module."""
        return LatentMetric(self, dtype)

    def _scales(
        self, features: NDArray[np.float64], atomic_numbers: NDArray[np.integer], groups: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        unseen = np.full(len(features), np.nan)
        n_groups = len(np.unique(groups))
        if n_groups > 1:
            for known, new in GroupKFold(min(self.folds, n_groups)).split(features, groups=groups):
                elements = np.unique(atomic_numbers[known])
                means, whiteners = _metric(features[known], atomic_numbers[known], elements)
                distances = _distances(features[new], atomic_numbers[new], elements, means, whiteners)
                unseen[new] = np.where(np.isin(atomic_numbers[new], elements), distances, np.nan)
        return _typical(unseen, atomic_numbers, self.elements_)


class LatentMetric(nn.Module):
    """The distance of a fitted ``LatentDistance``, differentiable with respect to the features."""

    means: Tensor
    whiteners: Tensor

    def __init__(self, fitted: LatentDistance, dtype: torch.dtype):
        super().__init__()
        self.elements = tuple(int(z) for z in fitted.elements_)
        self.register_buffer("means", torch.as_tensor(fitted.means_, dtype=dtype))
        self.register_buffer("whiteners", torch.as_tensor(fitted.whiteners_, dtype=dtype))

    def forward(self, features: Tensor, atomic_numbers: Tensor) -> Tensor:
        """Distance of each atom: features (N, D), atomic numbers (N,) -> (N,)."""
        distance = features.new_full((len(features),), UNKNOWN_DISTANCE)
        for element, mean, whitener in zip(self.elements, self.means, self.whiteners, strict=True):
            mine = torch.nonzero(atomic_numbers == element).flatten()
            whitened = (features[mine] - mean) @ whitener
            # The root has no slope at zero: a floor far below any distance keeps the derivative finite.
            distance = distance.index_copy(0, mine, (whitened.square().sum(-1) + 1e-12).sqrt())
        return distance


def _metric(
    features: NDArray[np.float64], atomic_numbers: NDArray[np.integer], elements: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (Z, D) and whitener (Z, D, D), divided by √D, of each element."""
    dimension = features.shape[1]
    means = np.stack([features[atomic_numbers == z].mean(0) for z in elements])
    centred = features - means[np.searchsorted(elements, atomic_numbers)]
    floor = 1e-6 * max(float(np.square(features).mean()), 1e-12)
    whiteners = np.empty((len(elements), dimension, dimension))
    for row, z in enumerate(elements):
        mine = centred[atomic_numbers == z]
        # One atom has no covariance: the spread of all elements stands in for it.
        values, vectors = np.linalg.eigh(_covariance(mine if len(mine) > 1 else centred))
        whiteners[row] = vectors / np.sqrt(np.maximum(values, floor) * dimension)
    return means, whiteners


def _covariance(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance (D, D) of atoms (N, D); a single atom in all has none."""
    if len(centred) == 1:
        return np.zeros((centred.shape[1], centred.shape[1]))
    covariance: NDArray[np.float64] = LedoitWolf(assume_centered=True).fit(centred).covariance_
    return covariance


def _distances(
    features: NDArray[np.float64],
    atomic_numbers: NDArray[np.integer],
    elements: NDArray[np.integer],
    means: NDArray[np.float64],
    whiteners: NDArray[np.float64],
) -> NDArray[np.float64]:
    distances = np.full(len(features), UNKNOWN_DISTANCE)
    for z, mean, whitener in zip(elements, means, whiteners, strict=True):
        mine = atomic_numbers == z
        distances[mine] = np.linalg.norm((features[mine] - mean) @ whitener, axis=1)
    return distances


def _typical(
    unseen: NDArray[np.float64], atomic_numbers: NDArray[np.integer], elements: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Median unseen distance of each element; elements without one borrow the largest of the others, or 1."""
    medians = np.full(len(elements), np.nan)
    for row, z in enumerate(elements):
        mine = unseen[atomic_numbers == z]
        mine = mine[np.isfinite(mine)]
        medians[row] = np.median(mine) if len(mine) else np.nan
    fallback = np.nanmax(medians) if np.isfinite(medians).any() else 1.0
    return np.maximum(np.where(np.isfinite(medians), medians, fallback), 1e-6)
