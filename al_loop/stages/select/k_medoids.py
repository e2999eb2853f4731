"""Representative frames by k-medoids, for rounds in which no uncertainty is known yet."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from al_loop.stages.select.farthest_point import Points, nearest_distances

AT_MOST = 2000  # frames with pairwise distances; of more, an even sample of all trajectories is used


class Representatives:
    """Greedy k-medoids among the points of one composition: each pick shortens the sum of all distances most.

    The greedy solution of the facility-location problem (Nemhauser, Wolsey and Fisher, Math. Program. 14, 265 (1978)).
    Farthest points are the outliers of the explored frames; without an uncertainty that shows which outliers matter, a
    model learns more from representative frames.

    Args:
        points: (m, d) candidates.
        taken: (t, d) points that are taken already; may be empty.
        nearest: a candidate closer than this to a taken point is a near-duplicate and is never picked.
    """

    def __init__(self, points: Points, taken: Points, nearest: float) -> None:
        self._rows = np.linspace(0, len(points) - 1, min(len(points), AT_MOST)).round().astype(int)
        some = points[self._rows]
        self._between: NDArray[np.float64] = cdist(some, some)
        self._weight = len(points) / len(some)
        self._nearest = nearest
        self._empty = len(taken) == 0
        farthest = np.full(len(some), self._between.max(initial=0.0))
        self._distances = farthest if self._empty else nearest_distances(some, taken)

    def best(self) -> tuple[int, float]:
        """The candidate that shortens the distances most, and the sum of that; -1 and 0 if all are near-duplicates.

        While nothing at all is taken, the sum counts as infinite.
        """
        gains = np.maximum(self._distances[:, None] - self._between, 0).sum(axis=0) * self._weight
        if self._empty:
            return int(self._rows[np.argmax(gains)]), np.inf
        gains[self._distances <= self._nearest] = 0
        pick = int(np.argmax(gains))
        return (int(self._rows[pick]), float(gains[pick])) if gains[pick] > 0 else (-1, 0.0)

    def take(self, index: int) -> None:
        """Count this candidate as taken from now on."""
        here = int(np.searchsorted(self._rows, index))
        self._distances = np.minimum(self._distances, self._between[here])
        self._empty = False
