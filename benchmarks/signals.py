"""Ranking of frames by their largest error, by each signal of the gate and by their combination."""

import numpy as np
from learned import Outcome
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from committee.uncertainty.score import atomic_uncertainty, largest, mean_of_largest

POSITIVE_SHARES = (0.1, 0.3, 0.5)
SIGNALS = ("spread", "distance", "combined")

Cells = dict[tuple[str, str], list[np.ndarray]]  # (condition, signal) -> per fit: Spearman, AUROC at each share


def judge(cells: Cells, found: Outcome, broken: np.ndarray | None = None) -> None:
    """Evaluate the signals on the frames of one fit; scores of different fits are never ranked together.

    Frames that the physics check rejects rank above all others in the combined signal.
    """
    pairs = zip(found.sigmas, found.distances, strict=True)
    combined = np.array([mean_of_largest(atomic_uncertainty(sigma, distance)) for sigma, distance in pairs])
    if broken is not None:
        combined = np.where(broken, np.finfo(float).max, combined)
    signals = (largest(found.sigmas), largest(found.distances), combined)
    places = {"all": np.ones(len(found.errors), dtype=bool)}
    places.update({f"{int(t)} K": found.temperatures_K == t for t in np.unique(found.temperatures_K)})
    for where, chosen in places.items():
        for signal, values in zip(SIGNALS, signals, strict=True):
            cells.setdefault((where, signal), []).append(_skill(found.worst[chosen], values[chosen]))


def _skill(worst: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation, then the AUROC at tolerances with given shares of positive frames."""
    areas = [roc_auc_score(worst > np.quantile(worst, 1 - share), signal) for share in POSITIVE_SHARES]
    return np.array([spearmanr(worst, signal).statistic, *areas])


def print_table(cells: Cells) -> None:
    """Print one line for each condition and signal."""
    print("Spearman and AUROC with 10, 30 and 50 % positive, mean of the fits")
    for (where, signal), values in cells.items():
        print(f"  {where:8s} {signal:9s}", " ".join(f"{value:.3f}" for value in np.mean(values, axis=0)))


def gap(cells: Cells) -> float:
    """Return the smallest advantage of the combined over the better single signal of a cell, means over the fits."""
    gaps = []
    for where in {where for where, _ in cells}:
        spread, distance, combined = (np.mean(cells[where, signal], axis=0) for signal in SIGNALS)
        gaps.append((combined - np.maximum(spread, distance)).min())
    return float(np.min(gaps))  # NaN if a cell is: the built-in min would depend on the order
