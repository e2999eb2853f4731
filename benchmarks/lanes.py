"""Ranking of frames by their largest error, by each signal of the gate and by their combination."""

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

Cells = dict[tuple[str, str], list[np.ndarray]]  # (condition, signal) -> per fit: Spearman, AUROC at each share


def judge_halves(
    cells: Cells, found: Outcome, rng: np.random.Generator, calibrating: int, broken: np.ndarray | None = None
) -> None:
    """Evaluate the signals on halves of the frames; the combined score is fitted to ``calibrating`` of the others.

    Frames that the physics check rejects rank above all others in the combined signal. Each cell receives one fit's
    mean over the halves; scores of different fits are never ranked together.
    """
    tolerance = float(np.quantile(found.worst, 0.7))
    skills = defaultdict(list)
    for _ in range(HALVINGS):
        order = rng.permutation(len(found.errors))
        half = len(order) // 2
        for known, test in ((order[:half], order[half:]), (order[half:], order[:half])):
            fitted, new = found.select(known[:calibrating]), found.select(test)
            score = Score.fit(fitted.errors, fitted.sigmas, fitted.distances, tolerance)
            combined = largest([score(s, d) for s, d in zip(new.sigmas, new.distances, strict=True)])
            if broken is not None:
                combined = np.where(broken[test], np.finfo(float).max, combined)
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
    """Return Spearman's rank correlation, then the AUROC at tolerances with given shares of positive frames."""
    areas = [roc_auc_score(worst > np.quantile(worst, 1 - share), signal) for share in POSITIVE_SHARES]
    return np.array([spearmanr(worst, signal).statistic, *areas])


def print_table(cells: Cells) -> None:
    """Print one line for each condition and signal."""
    print("Spearman and AUROC with 10, 30 and 50 % positive, mean of the fits")
    for (where, lane), values in cells.items():
        print(f"  {where:8s} {lane:9s}", " ".join(f"{value:.3f}" for value in np.mean(values, axis=0)))


def gap(cells: Cells) -> float:
    """Return the smallest advantage of the combined over the better single signal of a cell, means over the fits."""
    gaps = []
    for where in {where for where, _ in cells}:
        spread, distance, combined = (np.mean(cells[where, lane], axis=0) for lane in LANES)
        gaps.append((combined - np.maximum(spread, distance)).min())
    return float(np.min(gaps))  # NaN if a cell is: the built-in min would depend on the order
