"""How well each lane of the gate, and all of them together, rank frames by their largest error."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from learned import Outcome
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from committee.uncertainty.score import Score, largest

POSITIVE_SHARES = (0.1, 0.3, 0.5)
LANES = ("spread", "distance", "combined")
HALVINGS = 5

Cells = dict[tuple[str, str], list[np.ndarray]]  # (where, lane) -> per fit: Spearman, AUROC at each share


def judge_halves(
    cells: Cells, found: Outcome, rng: np.random.Generator, calibrating: int, broken: np.ndarray | None = None
) -> None:
    """Judge the lanes on halves of the frames, the score of both weighed on up to ``calibrating`` of the others.

    Frames that the physics lane calls broken stand above all others in the combined signal. One fit's mean over the
    halves goes into each cell; scores that were weighed apart are never ranked together.
    """
    tolerance = float(np.quantile(found.worst, 0.7))
    skills = defaultdict(list)
    for _ in range(HALVINGS):
        order = rng.permutation(len(found.errors))
        half = len(order) // 2
        for known, asked in ((order[:half], order[half:]), (order[half:], order[:half])):
            seen, new = found.select(known[:calibrating]), found.select(asked)
            score = Score.fit(seen.errors, seen.sigmas, seen.distances, tolerance)
            combined = largest([score(s, d) for s, d in zip(new.sigmas, new.distances, strict=True)])
            if broken is not None:
                combined = np.where(broken[asked], np.finfo(float).max, combined)
            _judge(skills, new, (largest(new.sigmas), largest(new.distances), combined))
    for cell, values in skills.items():
        cells.setdefault(cell, []).append(np.mean(values, axis=0))


def _judge(skills: Cells, new: Outcome, signals: Sequence[np.ndarray]) -> None:
    places = {"all": np.ones(len(new.errors), dtype=bool)}
    places.update({f"{int(t)} K": new.temperatures_K == t for t in np.unique(new.temperatures_K)})
    for where, chosen in places.items():
        for lane, values in zip(LANES, signals, strict=True):
            skills[where, lane].append(_skill(new.worst[chosen], values[chosen]))


def _skill(worst: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation, then the AUROC at tolerances that make so many frames positive."""
    areas = [roc_auc_score(worst > np.quantile(worst, 1 - share), signal) for share in POSITIVE_SHARES]
    return np.array([spearmanr(worst, signal).statistic, *areas])


def print_table(cells: Cells) -> None:
    """One line for each place and lane."""
    print("Spearman and AUROC with 10, 30 and 50 % positive, mean of the fits")
    for (where, lane), values in cells.items():
        print(f"  {where:8s} {lane:9s}", " ".join(f"{value:.3f}" for value in np.mean(values, axis=0)))


def gap(cells: Cells) -> float:
    """Smallest difference between the combined signal and the better lane of a cell, means over the fits."""
    gaps = []
    for where in {where for where, _ in cells}:
        spread, distance, combined = (np.mean(cells[where, lane], axis=0) for lane in LANES)
        gaps.append((combined - np.maximum(spread, distance)).min())
    return float(np.min(gaps))  # NaN if a cell is: the built-in min would depend on the order
