"""Reduction of the force error on held-out trajectories by 48 labels.

    python benchmarks/accuracy.py [--system nacl|ethanol|distilled] [--quick]

Five fits, each on its own choice of trajectories, 16 frames from each of three temperatures.
"""

from statistics import median

import numpy as np
from figures import at_least
from learned import backbone_of, fit, outcome
from systems import System, load_frames, measure_chosen, split

from committee.settings import TrainingSettings


def measure(system: System, *, quick: bool) -> None:
    """Print every fit, then the figure."""
    backbone, frames = backbone_of(system), load_frames(system, quick=quick)
    training = TrainingSettings(epochs=40) if quick else TrainingSettings()
    ratios = []
    for seed in range(1 if quick else 5):
        parts = split(frames, 16, seed)
        found = outcome(fit(backbone, parts.train, seed, training=training), parts.held_out)
        ratios.append(found.foundation_mae / found.mae)
        by_temperature = {
            int(t): [round(f(found.select(found.temperatures_K == t)), 4) for f in (_foundation, _committee)]
            for t in np.unique(found.temperatures_K)
        }
        print(
            f"{system.name} seed {seed}: {len(parts.train)} labels, force MAE {found.foundation_mae:.4f} -> "
            f"{found.mae:.4f} eV/Å on {len(found.errors)} frames; by temperature (K) {by_temperature}",
            flush=True,
        )
    name = f"{system.name}: force MAE on held-out trajectories, foundation over committee, {len(parts.train)} labels"
    at_least(name, median(ratios), 4)


def _foundation(found) -> float:
    return found.foundation_mae


def _committee(found) -> float:
    return found.mae


if __name__ == "__main__":
    measure_chosen(measure, __doc__)
