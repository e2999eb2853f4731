"""How well the uncertainty predicts the error, and whether the guarantee holds.

    python benchmarks/uncertainty.py [--system nacl|ethanol|distilled] [--quick]

Five fits on 48 labels. For coverage and guarantee, frames of the other trajectories are split at random, so that
calibration and test frames are exchangeable; benchmarks/shift.py is about frames that are not.
"""

from collections.abc import Sequence

import numpy as np
from figures import at_least, at_most, report
from learned import Outcome, backbone_of, fit, outcome
from signals import POSITIVE_SHARES, Cells, gap, judge, print_table
from systems import System, load_frames, measure_chosen, split

from committee.settings import TrainingSettings
from committee.uncertainty.calibration import Calibration

SPLITS = 40


def measure(system: System, *, quick: bool) -> None:
    """Print the table of every signal, then the figures."""
    backbone, frames = backbone_of(system), load_frames(system, quick=quick)
    training = TrainingSettings(epochs=40) if quick else TrainingSettings()
    cells: Cells = {}
    guarantees: list[np.ndarray] = []
    for seed in range(1 if quick else 5):
        parts = split(frames, 16, seed)
        found = outcome(fit(backbone, parts.train, seed, training=training), parts.held_out)
        rng = np.random.default_rng(seed)
        judge(cells, found)
        guarantees.append(_guarantees(found, rng))
        print(f"{system.name} seed {seed}: {len(parts.train)} labels, {len(found.errors)} held-out frames", flush=True)
    print_table(cells)
    _figures(system.name, cells, np.mean(guarantees, axis=0))


def _guarantees(found: Outcome, rng: np.random.Generator) -> np.ndarray:
    """Over random splits: covered, tested, trusted and exceeding frames, and splits with a proven guarantee."""
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
            calibration.guarantee_proven,
        ]
    return totals / SPLITS


def _figures(name: str, cells: Cells, guarantees: Sequence[float]) -> None:
    overall = np.mean(cells["all", "combined"], axis=0)
    at_least(f"{name}: Spearman of uncertainty against true force error, all frames", overall[0], 0.8)
    for share, area in zip(POSITIVE_SHARES, overall[1:], strict=True):
        at_least(f"{name}: AUROC with {share:.0%} of frames positive, all frames", area, 0.95)
    at_least(f"{name}: combined minus best signal, worst of all cells", gap(cells), -0.005)
    covered, tested, trusted, exceeding, proven = guarantees
    coverage = covered / tested
    report(f"{name}: marginal coverage at 90 %", coverage, "0.87 to 0.93", holds=0.87 <= coverage <= 0.93)
    at_most(f"{name}: P(largest force error > tolerance | trusted)", exceeding / max(trusted, 1e-9), 0.1)
    print(f"{name}: per split {tested:.0f} test frames, {trusted:.1f} trusted; {proven:.0%} of the guarantees proven")


if __name__ == "__main__":
    measure_chosen(measure, __doc__)
