"""Random directions instead of all coordinates: error, uncertainty and computing time of the fits to them.

    python benchmarks/tangents.py [--quick] [--system sic|nacl|ethanol|3bpa] [--seeds 5] [--labels 48]

The same labels are fitted with exact tangents and along few directions: that of the foundation's error, random ones (a
fifth of the coordinates), and four of the errors that fits leave. Force error, rank correlation, AUROC of
"force error in the highest quarter" and the ratio of error to spread are those on frames of other trajectories. The
cost of a frame's directions is in energy-and-force calls of the bare foundation, in processor time of the same run,
one thread. ``3bpa`` needs the published frames of ``field.py``.
"""

import argparse
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from field import HOME_K, MISSING, folder, molecule
from figures import at_least, at_most
from learned import Outcome, fit, outcome
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from systems import SEVENNET, SYSTEMS, Frame, Split, System, load_frames, split

from committee.backbones import load_backbone
from committee.backbones.contract import Backbone
from committee.model.tangents import TangentCache
from committee.settings import TrainingSettings
from committee.training.training_set import directions_of

EXACT = TrainingSettings(exact_up_to_atoms=1000)
RANDOM_SHARE, FITTED = 0.2, 4
MOST_CALLS = {"sic": 10.0, "3bpa": 20.0}
SIC = System("sic", "sic", SEVENNET)


def few_directions(frames: Sequence[Frame]) -> TrainingSettings:
    """Return the settings of few directions for frames of one size."""
    atoms = frames[0].training.atoms
    count = math.ceil(RANDOM_SHARE * (3 * len(atoms) + 6 * bool(atoms.pbc.all())))
    return TrainingSettings(exact_up_to_atoms=4, random_directions=count, fitted_directions=FITTED)


def uncertainty(found: Outcome) -> dict[str, float]:
    """Return how well the spread of the committee tells the errors."""
    spread = np.array([sigmas.max() for sigmas in found.sigmas])
    errors, sigmas = np.concatenate(found.errors), np.concatenate(found.sigmas)
    return {
        "mae": found.mae,
        "rho": float(spearmanr(found.worst, spread).statistic),
        "auroc": float(roc_auc_score(found.worst > np.quantile(found.worst, 0.75), spread)),
        "error_over_spread": float(np.sqrt(np.square(errors).mean() / np.square(sigmas).mean())),
    }


def cost_in_calls(backbone: Backbone, frames: Sequence[Frame], training: TrainingSettings, repeats: int) -> float:
    """Return the processor time of the frames' tangents over that of as many energy-and-force calls."""
    ratios = []
    for _ in range(1 + repeats):
        plain = seconds(lambda: _call_each(backbone, frames))
        ratios.append(seconds(lambda: _all_tangents(backbone, frames, training)) / plain)
    return median(ratios[1:])


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time: with one thread it equals the wall time of an idle machine."""
    started = time.process_time()
    work()
    return time.process_time() - started


def _call_each(backbone: Backbone, frames: Sequence[Frame]) -> None:
    for frame in frames:
        backbone.evaluate([frame.training.atoms]).foundation()


def _all_tangents(backbone: Backbone, frames: Sequence[Frame], training: TrainingSettings) -> None:
    labelled = [frame.training for frame in frames]
    plans = [directions_of(frame, training) for frame in labelled]
    structures = [(frame.id, frame.atoms) for frame in labelled]
    with TemporaryDirectory() as name:
        cache = TangentCache(backbone, Path(name))
        entries = cache.read(structures, plans)
        if not entries[0].is_exact:
            for _ in range(training.fitted_directions):
                entries = cache.extend(structures, entries, plans, [torch.as_tensor(e.features) for e in entries])


def parts_of(name: str, labels: int, seed: int, *, quick: bool) -> Split | None:
    """Return labels to fit and held-out frames; None if the published frames are missing."""
    if name != "3bpa":
        frames = load_frames(SIC if name == "sic" else SYSTEMS[name], quick=quick)
        return split(frames, labels // len({frame.temperature_K for frame in frames}), seed)
    published = folder()
    if published is None:
        return None
    frames = molecule(published, HOME_K, 120)
    chosen = set(np.random.default_rng(seed).permutation(100)[:labels].tolist())
    return Split([frames[i] for i in sorted(chosen)], frames[100:])


def measure(name: str, labels: int, seeds: int, *, quick: bool) -> None:
    """Print the two fits of each seed, then the figures."""
    backbone = load_backbone(SEVENNET)
    rows: dict[str, list[dict[str, float]]] = {"exact": [], "random": []}
    for seed in range(seeds):
        parts = parts_of(name, labels, seed, quick=quick)
        if parts is None:
            print(f"# {MISSING}")
            return
        settings = (EXACT, few_directions(parts.train))
        exact, random = (s.model_copy(update={"epochs": 40}) if quick else s for s in settings)
        for kind, training in (("exact", exact), ("random", random)):
            found = uncertainty(outcome(fit(backbone, parts.train, seed, training=training), parts.held_out))
            rows[kind].append(found)
            print(f"{name} seed {seed}, {len(parts.train)} labels, {kind}: {_rounded(found)}", flush=True)
    cost, before = (cost_in_calls(backbone, parts.train[:4], kind, 2 if quick else 5) for kind in (random, exact))
    print(f"{name}: tangents of a frame cost {cost:.1f} energy-and-force calls, exact ones {before:.1f}")
    at_most(f"{name}: tangents of a frame, in energy-and-force calls", cost, MOST_CALLS.get(name, before))
    ratios = [two["mae"] / one["mae"] for one, two in zip(*rows.values(), strict=True)]
    at_most(f"{name}: force error over that with exact tangents, mean of {seeds}", mean(ratios), 1.02)
    for key in ("rho", "auroc"):
        change = mean(two[key] - one[key] for one, two in zip(*rows.values(), strict=True))
        at_least(f"{name}: change of {key}", change, -0.01)
    calibration = [mean(row["error_over_spread"] for row in kind) for kind in rows.values()]
    print(f"{name}: error over spread {calibration[1]:.2f}, with exact tangents {calibration[0]:.2f}")


def _rounded(found: dict[str, float]) -> dict[str, float]:
    return {key: float(f"{value:.3g}") for key, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", choices=("sic", "nacl", "ethanol", "3bpa"), action="append", help="default: all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--labels", type=int, default=48)
    parser.add_argument("--quick", action="store_true", help="few epochs on small ethanol trajectories, one seed")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = arguments.system or (["ethanol"] if arguments.quick else ["sic", "nacl", "ethanol", "3bpa"])
    for name in names:
        measure(name, arguments.labels, 1 if arguments.quick else arguments.seeds, quick=arguments.quick)


if __name__ == "__main__":
    main()
