"""Ranking of frames by the gate, and how soon it detects that a trajectory has left the tolerance.

    python benchmarks/gate.py [--system nacl|ethanol|distilled] [--quick]

Ranking: five fits on 48 labels, as in ``uncertainty.py``, with frames that the physics check rejects ranked first. For
comparison: the result if the spread of each frame's errors were known exactly, but not the errors: for more similar
frames the largest error is more random. Leaving: see ``leaving.py``.
"""

import numpy as np
from figures import at_least, at_most
from learned import Outcome, backbone_of, fit, outcome
from leaving import FALSE_ALARMS, Alarms, Journey, add_alarms, calibrated, heated
from signals import POSITIVE_SHARES, Cells, gap, judge, print_table
from sklearn.metrics import roc_auc_score
from systems import Frame, System, gfn2, load_frames, measure_chosen, split

from al_loop.config import PhysicsSettings
from al_loop.gate.physics import PhysicsCheck
from committee.settings import TrainingSettings

DRAWS = 20
TRAJECTORIES, QUICK_TRAJECTORIES = 12, 4
HEATING_FS, QUICK_HEATING_FS = {"ethanol": 200.0, "nacl": 800.0}, {"ethanol": 30.0, "nacl": 120.0}
HOME_SHARES = (
    1.0,
    0.95,
)  # of the frames at home that are within the tolerance: where some are not, home is left at once


def measure(system: System, *, quick: bool) -> None:
    """Print both parts."""
    ranking(system, quick=quick)
    leaving(system, quick=quick)


def ranking(system: System, *, quick: bool) -> None:
    """AUROC of the combined gate and of its signals."""
    backbone, frames = backbone_of(system), load_frames(system, quick=quick)
    training = TrainingSettings(epochs=40) if quick else TrainingSettings()
    physics = PhysicsCheck(PhysicsSettings(), system.recipe.start(), system.recipe.temperatures_K[-1])
    cells: Cells = {}
    known: list[np.ndarray] = []
    for seed in range(1 if quick else 5):
        parts = split(frames, 16, seed)
        found = outcome(fit(backbone, parts.train, seed, training=training), parts.held_out)
        broken = np.array([physics.check(frame.training.atoms) is not None for frame in parts.held_out])
        rng = np.random.default_rng(seed)
        judge(cells, found, broken)
        known.append(_ceiling(found, rng))
        print(
            f"{system.name} seed {seed}: {len(found.errors)} held-out frames, physics check rejects {broken.sum()}",
            flush=True,
        )
    print_table(cells)
    best = np.mean(known, axis=0)
    for share, area, ceiling in zip(POSITIVE_SHARES, np.mean(cells["all", "combined"], axis=0)[1:], best, strict=True):
        print(f"{system.name}: {share:.0%} positive, known spread of every error: {ceiling:.3f}")
        at_least(f"{system.name}: AUROC of the gate with {share:.0%} of frames positive, all frames", area, 0.95)
    at_least(f"{system.name}: gate minus best signal, worst of all cells", gap(cells), -0.005)


def _ceiling(found: Outcome, rng: np.random.Generator) -> np.ndarray:
    """AUROC of the true spread where errors are drawn from it: normal, as wide as the committee's at the true scale."""
    size = np.sqrt(np.mean(np.concatenate(found.errors) ** 2) / np.mean(np.concatenate(found.sigmas) ** 2))
    sigma = np.array([values.max() for values in found.sigmas])
    areas = []
    for _ in range(DRAWS):
        drawn = [size * s * np.linalg.norm(rng.normal(size=(len(s), 3)), axis=1) / np.sqrt(3) for s in found.sigmas]
        worst = np.array([values.max() for values in drawn])
        areas.append([roc_auc_score(worst > np.quantile(worst, 1 - share), sigma) for share in POSITIVE_SHARES])
    return np.mean(areas, axis=0)


def leaving(system: System, *, quick: bool) -> None:
    """Steps from leaving the tolerance to the alarm, thresholds chosen on the other half of the trajectories."""
    frames = load_frames(system, system.recipe.temperatures_K[:1], quick=quick)
    parts = split(frames, 6 if quick else 32, 0)
    training = TrainingSettings(epochs=40) if quick else TrainingSettings()
    potential = fit(backbone_of(system), parts.train, 0, training=training)
    home = outcome(potential, parts.held_out).worst
    teacher = system.recipe.teacher() if system.recipe.teacher is not None else gfn2()
    starts = _evenly(parts.held_out, QUICK_TRAJECTORIES if quick else TRAJECTORIES)
    steps = round((QUICK_HEATING_FS if quick else HEATING_FS)[system.data] / system.recipe.timestep_fs)
    journeys = heated(system, potential, teacher, starts, steps)
    for share in HOME_SHARES:
        _alarms(f"{system.name}, {share:.0%} of home within", journeys, float(np.quantile(home, share)))


def _alarms(name: str, journeys: list[Journey], tolerance: float) -> None:
    """The figures at one tolerance, in eV/Å."""
    halves = journeys[::2], journeys[1::2]
    chosen, product = Alarms([]), Alarms([])
    for calibrating, test in (halves, halves[::-1]):
        calibration, threshold = calibrated(calibrating, tolerance)
        add_alarms(chosen, test, calibration, threshold, tolerance)
        if calibration.trust_threshold is not None:
            add_alarms(product, test, calibration, calibration.trust_threshold, tolerance)
    print(f"{name}: tolerance {tolerance:.3f} eV/Å; steps to the alarm {sorted(chosen.delays)}")
    result = f"{sorted(product.delays)}, false alarms {_share(product):.1%}"
    print(f"{name}: at the threshold of the guarantee {result}")
    left = f"of {len(chosen.delays)} trajectories"
    at_most(f"{name}: steps from leaving the tolerance to the alarm, median {left}", _median(chosen), 20)
    at_most(f"{name}: false alarms on {chosen.within} looks within tolerance", _share(chosen), FALSE_ALARMS)


def _evenly(frames: list[Frame], count: int) -> list[Frame]:
    return [frames[i] for i in np.linspace(0, len(frames) - 1, count).round().astype(int)]


def _median(alarms: Alarms) -> float:
    return float(np.median(alarms.delays)) if alarms.delays else float("nan")


def _share(alarms: Alarms) -> float:
    return alarms.false / alarms.within if alarms.within else float("nan")


if __name__ == "__main__":
    measure_chosen(measure, __doc__)
