"""Statistics of a ranking by a committee: which candidates it can distinguish, and how likely each is among the best.

Errors of a committee are shared between similar structures. The uncertainty of an energy difference is therefore the
spread over the members of the difference, not the sum of two spreads; with K members it follows Student's t with
K - 1 degrees of freedom.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

Array = NDArray[np.float64]
SAMPLES = 20_000


@dataclass(frozen=True)
class Energies:
    """Energies of C comparable candidates from K members, eV per compared unit.

    Attributes:
        mean: (C,) served energy.
        deviations: (C, K) of each member from the mean.
        scale: what standard deviations of differences are multiplied by to be those of the true errors.
        resolution: standard deviation of a difference besides the committee's: rounding, what relaxation left.
    """

    mean: Array
    deviations: Array
    scale: float
    resolution: float

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the members' spread."""
        return int(self.deviations.shape[1]) - 1

    def difference_std(self, first: int, second: int) -> float:
        """Standard deviation of the difference between two candidates, eV."""
        spread = self.scale * float(np.std(self.deviations[first] - self.deviations[second], ddof=1))
        return 0.0 if first == second else float(np.hypot(spread, self.resolution))

    def separates(self, lower: int, higher: int, confidence: float) -> bool:
        """Whether ``higher`` lies above ``lower`` with this one-sided confidence."""
        gap = self.mean[higher] - self.mean[lower]
        return bool(gap > student.ppf(confidence, self.freedom) * self.difference_std(lower, higher))

    def samples(self, rng: np.random.Generator, count: int = SAMPLES) -> Array:
        """Energies (count, C) that could be the true ones: a multivariate t with the members' covariance."""
        members = rng.normal(size=(count, self.deviations.shape[1])) / np.sqrt(self.freedom)
        stretch = np.sqrt(self.freedom / rng.chisquare(self.freedom, size=(count, 1)))
        own = rng.normal(scale=self.resolution / np.sqrt(2), size=(count, len(self.mean)))
        return np.asarray(self.mean + stretch * (self.scale * members @ self.deviations.T + own))


@dataclass(frozen=True)
class RankStatistics:
    """Order of the candidates, and which cannot be distinguished from the best.

    Attributes:
        order: (C,) indices, lowest energy first.
        probability_top: (C,) how likely each is among the best N.
        inseparable_from: for each candidate beyond the N lowest that cannot be told apart from one of them, the
            first such one.
        probability_kept: how likely the true best N are all among the N lowest and those.
    """

    order: NDArray[np.int64]
    probability_top: Array
    inseparable_from: dict[int, int]
    probability_kept: float


def rank_statistics(energies: Energies, top: int, confidence: float, rng: np.random.Generator) -> RankStatistics:
    """Rank candidates and find those that cannot be told from the best ``top`` at a one-sided confidence.

    The generator draws the energies that the probabilities are counted on.
    """
    order = np.argsort(energies.mean, kind="stable")
    best, others = order[:top], order[top:]
    inseparable = {}
    for candidate in others:
        close = [int(b) for b in best if not energies.separates(int(b), int(candidate), confidence)]
        if close:
            inseparable[int(candidate)] = close[0]
    kept = np.zeros(len(order), dtype=bool)
    kept[[*best, *inseparable]] = True
    drawn = energies.samples(rng)
    chosen = np.zeros(drawn.shape, dtype=bool)
    np.put_along_axis(chosen, np.argsort(drawn, axis=1)[:, :top], values=True, axis=1)
    return RankStatistics(
        order=order,
        probability_top=chosen.mean(axis=0),
        inseparable_from=inseparable,
        probability_kept=float((chosen <= kept).all(axis=1).mean()),
    )
