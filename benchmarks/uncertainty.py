"""How well the uncertainty foretells the error, and whether what is promised holds.

    python benchmarks/uncertainty.py [--system nacl|ethanol|distilled] [--quick]

Five fits on 48 labels. Frames of the other trajectories are split at random, so that calibration and test frames are
exchangeable: the score of spread and latent distance is weighed on one half and judged on the other, and the other way
round, over several splits. So are coverage and promise.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from figures import at_least, at_most, report
from learned import Outcome, backbone_of, fit, outcome
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from systems import System, load_frames, measure_chosen, split

from committee.calibration import Calibration
from committee.score import Score, largest
from committee.settings import TrainingSettings

POSITIVE_SHARES = (0.1, 0.3, 0.5)
LANES = ("spread", "distance", "combined")
SPLITS = 40
HALVINGS = 5
FEW = 16  # calibration frames of a first round

Cells = dict[tuple[str, str], list[np.ndarray]]  # (where, lane) -> per fit: Spearman, AUROC at each share


def measure(system: System, *, quick: bool) -> None:
    """Print the table of every lane, then the figures."""
    backbone, frames = backbone_of(system), load_frames(system, quick=quick)
    training = TrainingSettings(epochs=40) if quick else TrainingSettings()
    many: Cells = defaultdict(list)
    few: Cells = defaultdict(list)
    promises: list[np.ndarray] = []
    for seed in range(1 if quick else 5):
        parts = split(frames, 16, seed)
        found = outcome(fit(backbone, parts.train, seed, training=training), parts.held_out)
        rng = np.random.default_rng(seed)
        _add(many, found, rng, len(found.errors) // 2)
        _add(few, found, rng, FEW)
        promises.append(_promises(found, rng))
        print(f"{system.name} seed {seed}: {len(parts.train)} labels, {len(found.errors)} held-out frames", flush=True)
    _print_table(many)
    _figures(system.name, many, few, np.mean(promises, axis=0))


def _add(cells: Cells, found: Outcome, rng: np.random.Generator, calibrating: int) -> None:
    """Judge the lanes on halves of the frames, the score of both weighed on up to ``calibrating`` of the others.

    One fit's mean over the halves goes into each cell; scores that were weighed apart are never ranked together.
    """
    tolerance = float(np.quantile(found.worst, 0.7))
    skills = defaultdict(list)
    for _ in range(HALVINGS):
        order = rng.permutation(len(found.errors))
        half = len(order) // 2
        for known, asked in ((order[:half], order[half:]), (order[half:], order[:half])):
            seen, new = found.select(known[:calibrating]), found.select(asked)
            score = Score.fit(seen.errors, seen.sigmas, seen.distances, tolerance)
            combined = [score(s, d).max() for s, d in zip(new.sigmas, new.distances, strict=True)]
            _judge(skills, new, (largest(new.sigmas), largest(new.distances), np.array(combined)))
    for cell, values in skills.items():
        cells[cell].append(np.mean(values, axis=0))


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


def _promises(found: Outcome, rng: np.random.Generator) -> np.ndarray:
    """Over random splits: covered, tested, trusted and exceeding frames, and splits with a proven promise."""
    tolerance = float(np.quantile(found.worst, 0.7))
    totals = np.zeros(5)
    for _ in range(SPLITS):
        order = rng.permutation(len(found.errors))
        half = len(order) // 2
        seen, new = found.select(order[:half]), found.select(order[half:])
        calibration = Calibration.fit(seen.errors, seen.sigmas, seen.distances, tolerance_eV_per_A=tolerance)
        counted = calibration.coverage(new.errors, new.sigmas, new.distances)
        totals += [
            counted.covered,
            counted.frames,
            counted.trusted,
            counted.trusted_exceeding,
            calibration.promise_proven,
        ]
    return totals / SPLITS


def _print_table(cells: Cells) -> None:
    print("Spearman and AUROC with 10, 30 and 50 % positive, mean of the fits")
    for (where, lane), values in cells.items():
        print(f"  {where:8s} {lane:9s}", " ".join(f"{value:.3f}" for value in np.mean(values, axis=0)))


def _figures(name: str, many: Cells, few: Cells, promises: Sequence[float]) -> None:
    overall = np.mean(many["all", "combined"], axis=0)
    at_least(f"{name}: Spearman of uncertainty against true force error, all frames", overall[0], 0.8)
    for share, area in zip(POSITIVE_SHARES, overall[1:], strict=True):
        at_least(f"{name}: AUROC with {share:.0%} of frames positive, all frames", area, 0.95)
    for cells, what in ((many, "half of the frames"), (few, f"{FEW} frames")):
        at_least(f"{name}: combined minus best lane, worst of all cells, weighed on {what}", _gap(cells), -0.005)
    covered, tested, trusted, exceeding, proven = promises
    coverage = covered / tested
    report(f"{name}: marginal coverage at 90 %", coverage, "0.87 to 0.93", holds=0.87 <= coverage <= 0.93)
    at_most(f"{name}: P(largest force error > tolerance | trusted)", exceeding / max(trusted, 1e-9), 0.1)
    print(f"{name}: per split {tested:.0f} test frames, {trusted:.1f} trusted; {proven:.0%} of the promises proven")


def _gap(cells: Cells) -> float:
    """Smallest difference between the combined signal and the better lane of a cell, means over the fits."""
    gaps = []
    for where in {where for where, _ in cells}:
        spread, distance, combined = (np.mean(cells[where, lane], axis=0) for lane in LANES)
        gaps.append((combined - np.maximum(spread, distance)).min())
    return float(np.min(gaps))  # NaN if a cell is: the built-in min would depend on the order


if __name__ == "__main__":
    measure_chosen(measure, __doc__)
