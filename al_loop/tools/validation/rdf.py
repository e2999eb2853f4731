"""Radial distribution of a trajectory: its first peak, and the neighbours in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from al_loop.errors import NoAnswerError

NO_FRAME = "too few steps: no frame is left after equilibration"
FARTHEST_A = 6.0
BIN_A = 0.02
SMOOTH_A = 0.06  # standard deviation of the Gaussian that g(r) is smoothed with
FIRST = 0.5  # the first maximum at least so high, in units of the highest, is the first peak
EMPTY = 0.01  # of the first peak: below it the shell has ended

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FirstPeak:
    """The first shell of neighbours.

    Attributes:
        distance_A: of the maximum of g(r).
        height: there.
        neighbours: mean number of atoms up to the minimum after it.
        end_A: where that is.
    """

    distance_A: float
    height: float
    neighbours: float
    end_A: float


def first_peak(frames: Sequence[Atoms]) -> FirstPeak:
    """Analyse g(r) = n(r) / (4π r² Δr ρ), averaged over atoms and frames, of all elements together.

    Args:
        frames: periodic in three directions.

    Raises:
        NoAnswerError: no frame, or no peak, or none that ends, below ``FARTHEST_A``.
    """
    if not frames:
        raise NoAnswerError(NO_FRAME)
    edges = np.arange(0.0, FARTHEST_A + BIN_A / 2, BIN_A)
    counts = np.zeros(len(edges) - 1)  # neighbours of one atom by distance
    density = 0.0
    for frame in frames:
        counts += np.histogram(neighbor_list("d", frame, FARTHEST_A), edges)[0] / len(frame)
        density += len(frame) / frame.get_volume()
    counts, density = counts / len(frames), density / len(frames)
    r = (edges[:-1] + edges[1:]) / 2
    g = gaussian_filter1d(counts, SMOOTH_A / BIN_A) / (4 * np.pi * r**2 * BIN_A * density)
    inside = slice(1, -1)
    maxima = 1 + np.flatnonzero((g[inside] >= g[:-2]) & (g[inside] > g[2:]) & (g[inside] >= FIRST * g.max()))
    if not maxima.size:
        raise NoAnswerError(f"g(r) has no peak below {FARTHEST_A:g} Å")
    top = int(maxima[0])
    falling = (g[top:-1] < EMPTY * g[top]) | (g[top + 1 :] > g[top:-1])
    if not falling.any():
        raise NoAnswerError(f"the first peak of g(r) does not end below {FARTHEST_A:g} Å")
    end = top + int(np.argmax(falling))
    left, middle, right = g[top - 1 : top + 2]
    offset = 0.5 * (left - right) / (left - 2 * middle + right)
    height = middle - 0.25 * (left - right) * offset
    return FirstPeak(
        float(r[top] + offset * BIN_A), float(height), float(counts[: end + 1].sum()), float(edges[end + 1])
    )
