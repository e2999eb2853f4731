"""Effect of a correction, trained at the lowest temperature only, at higher temperatures.

    python benchmarks/do_no_harm.py [--system nacl|ethanol|distilled] [--quick]

The same fit with and without the switching function, five times, each on its own choice of trajectories.
"""

from collections import defaultdict
from statistics import median

import numpy as np
from figures import at_least, at_most
from learned import backbone_of, fit, outcome
from systems import System, load_between, load_frames, measure_chosen, split

from committee.settings import CommitteeSettings, TrainingSettings

LABELS = 32
UNFADED = CommitteeSettings(switch_start=1e6, switch_end=2e6)


def measure(system: System, *, quick: bool) -> None:
    """Print errors by temperature, then the figures."""
    home, hot, hottest = system.recipe.temperatures_K
    between = system.recipe.between_K
    backbone, frames = backbone_of(system), load_frames(system, quick=quick)
    training = TrainingSettings(epochs=40) if quick else TrainingSettings()
    known = [frame for frame in frames if frame.temperature_K == home]
    elsewhere = [frame for frame in frames if frame.temperature_K != home] + load_between(system, quick=quick)
    figures = defaultdict(list)
    for seed in range(1 if quick else 5):
        parts = split(known, LABELS, seed)
        switched, unswitched = (
            outcome(fit(backbone, parts.train, seed, committee, training), [*parts.held_out, *elsewhere])
            for committee in (CommitteeSettings(), UNFADED)
        )
        maes = {}
        for t in (home, between, hot, hottest):
            at = switched.temperatures_K == t
            maes[t] = (switched.select(at).foundation_mae, switched.select(at).mae, unswitched.select(at).mae)
            print(
                f"{system.name} seed {seed}, {len(parts.train)} labels at {home} K: force MAE at {t} K "
                f"{maes[t][0]:.4f} foundation, {maes[t][1]:.4f} switched, {maes[t][2]:.4f} unswitched; "
                f"latent distance {np.median(np.concatenate(switched.select(at).distances)):.1f}",
                flush=True,
            )
        for t in (hot, hottest):
            figures[f"force error at {t} K over the foundation's there"].append(maes[t][1] / maes[t][0])
        figures["home"].append(maes[home][1] / maes[home][2])
        figures["kept"].append((maes[between][0] - maes[between][1]) / (maes[between][0] - maes[between][2]))
    name = f"{system.name}, trained at {home} K only"
    for t in (hot, hottest):
        key = f"force error at {t} K over the foundation's there"
        at_most(f"{name}: {key}", median(figures[key]), 1.02)
    at_most(f"{name}: force error at home over the fit's without switching", median(figures["home"]), 1.3)
    at_least(f"{name}: share of the gain without switching kept at {between} K", median(figures["kept"]), 0.5)


if __name__ == "__main__":
    measure_chosen(measure, __doc__)
