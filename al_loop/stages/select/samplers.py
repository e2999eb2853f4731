"""Samplers of points of one composition: farthest points, and representatives while no uncertainty is known."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

ROWS_AT_ONCE = 8192
AT_MOST = 2000  # frames with pairwise distances; of more, an even sample of all trajectories is used

Points = NDArray[np.float32]


class FarthestPoints:
    """Greedy weighted farthest-point sampling among the points of one composition.

    Gonzalez, Theor. Comput. Sci. 38, 293 (1985), with the distance to the nearest taken point multiplied by a weight.

    Args:
        points: (m, d) candidates.
        taken: (t, d) points that are taken already; may be empty.
        weights: (m,) positive.
        nearest: a candidate closer than this to a taken point is a near-duplicate and is never picked.
    """

    def __init__(self, points: Points, taken: Points, weights: NDArray[np.float64], nearest: float) -> None:
        self._points = points
        self._squares = _squares(points)
        self._weights = weights
        self._nearest = nearest
        self._centre = points.mean(axis=0)
        self.distances = nearest_distances(points, taken, self._squares)

    def best(self) -> tuple[int, float]:
        """The candidate with the largest weight x distance, and that product; -1 and 0 if all are near-duplicates.

        While nothing at all is taken, distances are those to the centre of the candidates, and the product counts as
        infinite.
        """
        if not np.isfinite(self.distances).all():
            away = np.linalg.norm(self._points - self._centre, axis=1)
            return int(np.argmax(self._weights * away)), np.inf
        gains = np.where(self.distances > self._nearest, self._weights * self.distances, 0.0)
        pick = int(np.argmax(gains))
        return (pick, float(gains[pick])) if gains[pick] > 0 else (-1, 0.0)

    def take(self, index: int) -> None:
        """Take this candidate: later picks keep their distance from it."""
        here = self._points[index : index + 1]
        self.distances = np.minimum(self.distances, nearest_distances(self._points, here, self._squares))


def nearest_distances(points: Points, taken: Points, squares: Points | None = None) -> NDArray[np.float64]:
    """Distance of each point (m, d) to the nearest taken one (t, d): (m,), infinite where nothing is taken.

    In blocks of rows, by |a - b|² = |a|² - 2 a·b + |b|²: single precision leaves 1e-3 of a typical distance between
    equal points. ``squares`` (m,) are those of the points, if already computed.
    """
    nearest = np.full(len(points), np.inf)
    if len(taken) == 0:
        return nearest
    squares, taken_squares = _squares(points) if squares is None else squares, _squares(taken)
    for start in range(0, len(points), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        between = taken_squares - 2 * (points[rows] @ taken.T)
        nearest[rows] = np.sqrt(np.maximum(squares[rows] + between.min(axis=1), 0))
    return nearest


def _squares(points: Points) -> Points:
    return np.asarray(np.einsum("md,md->m", points, points))


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
