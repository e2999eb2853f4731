"""A model that is calibrated and proven at T and then watches dynamics at 2 T: alarms, their delay, and the way back.

    python benchmarks/drift.py [--only simulated|dynamics] [--runs N] [--quick]

Ethanol, SevenNet-0 with heads trained on 32 frames at 300 K; GFN2-xTB (tblite) drives the dynamics and makes every
label. The model is calibrated on 96 frames of 8 trajectories at 300 K, 0.5 ps apart, for a tolerance of 0.45 eV/Å,
which none of them exceeds. The monitor's test then follows Langevin dynamics, a check every 20 fs, as ``al-loop
monitor`` does with the screen: the latent distance at every check, the exact uncertainty where the test asks for it
(of every fourth check, so that the predictions, which are kept in ``benchmarks/.cache``, do not depend on the test).
Runs stay at 300 K, or are heated to 600 K after 256 of 512 checks. False alarms are counted on everything before the
heating, and on simulated scores of known correlation, against the stated 1 % of runs. After the alarm ``al-loop
recalibrate`` labels frames of other trajectories at 600 K, more each time, until it reports the guarantee as proven;
what the two calibrations trust is counted on the frames of the heated runs.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.io import write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from figures import at_least, at_most, report
from learned import backbone_of, fit, identity
from scipy.signal import lfilter
from scipy.stats import beta
from systems import CACHE, SYSTEMS, load_frames, split
from tblite.ase import TBLite
from telling import counting

from al_loop import recalibrate
from al_loop.config import GateSettings
from al_loop.gate.calibrate import ForceComparison, with_fitted_calibration
from al_loop.tools.monitoring.conditions import UNCERTAINTY_SPACING
from committee import CommitteePotential, TrainingSettings
from committee.atomic_write import replacing_path
from committee.checkpoint import load, save
from committee.uncertainty.calibration import Coverage
from committee.uncertainty.drift import CalibrationScores, DriftReport, DriftTest
from dft_interfaces.settings import ASECalculatorSettings

HOME_K, HOT_K = 300.0, 600.0
EVERY, TIMESTEP_FS = 20, 1.0
EXACT = 4  # checks between two with an exact uncertainty; the screen's test asks for one in eight at most
SETTLING = 32  # checks after the heating whose frames are not counted as frames at 600 K
TOLERANCE_EV_PER_A = 0.45
ALPHA = 0.01
LIMIT = 0.1
SIMULATED_FRAMES = 40  # of the calibration
ENGINE = ASECalculatorSettings(
    engine="ase", calculator="tblite.ase.TBLite", arguments={"method": "GFN2-xTB", "verbosity": 0}
)
STREAMS = ((1, 0.0, 0.0), (3, 0.5, 0.0), (19, 0.9, 0.0), (66, 0.97, 0.0), (10, 0.9, 1.0), (33, 0.97, 1.0))
"""Correlation time in checks, correlation of neighbours, and uncorrelated part (standard deviations) of scores."""


@dataclass(frozen=True)
class Sizes:
    """How much is run: checks before the heating, and as many after it; calibration frames; labels that are tried."""

    checks_each: int
    calibration_trajectories: int
    labels: tuple[int, ...]
    streams: int
    stream_frames: int
    simulated_runs: int
    simulated_checks: int


FULL = Sizes(256, 8, (44, 60, 80, 120), 3, 480, 400, 1500)
QUICK = Sizes(64, 1, (12,), 1, 24, 10, 300)


@dataclass(frozen=True)
class Run:
    """A trajectory with the committee's predictions, exact at every ``EXACT``-th frame.

    Attributes:
        distances: (checks,) largest latent distance of each frame.
        errors: per exact frame, (n,) norm of each atom's force error, eV/Å.
        sigmas: per exact frame, (n,) norm of each atom's force spread, eV/Å.
        latent: per exact frame, (n,) latent distance.
    """

    distances: np.ndarray
    errors: list[np.ndarray]
    sigmas: list[np.ndarray]
    latent: list[np.ndarray]


def md(temperatures_K: Sequence[float], checks: int, seed: int) -> tuple[list[Atoms], list[np.ndarray]]:
    """Frames and forces of one trajectory that spends equal parts at each temperature, after 1 ps at the first."""
    atoms, rng = SYSTEMS["ethanol"].recipe.start(), np.random.default_rng([12, seed])
    atoms = Atoms(atoms.numbers, atoms.positions, calculator=TBLite(method="GFN2-xTB", verbosity=0))
    thermalize_momenta(atoms, temperature_K=temperatures_K[0], rng=rng)
    dynamics = Langevin(
        atoms, TIMESTEP_FS * units.fs, temperature_K=temperatures_K[0], friction=0.01 / units.fs, rng=rng, fixcm=False
    )
    dynamics.run(1000)
    frames, forces = [], []
    for temperature_K in temperatures_K:
        dynamics.set_temperature(temperature_K=temperature_K)
        for _ in range(checks // len(temperatures_K)):
            dynamics.run(EVERY)
            frames.append(Atoms(atoms.numbers, atoms.positions))
            forces.append(atoms.get_forces())
    return frames, forces


def recorded(potential: CommitteePotential, temperatures_K: Sequence[float], checks: int, seed: int) -> Run:
    """Return a trajectory with predictions; those of an identical committee are cached."""
    name = f"{'-'.join(f'{t:g}' for t in temperatures_K)}K-{checks}-{seed}"

    def make() -> dict[str, list[np.ndarray]]:
        frames, forces = md(temperatures_K, checks, seed)
        latent = [prediction.latent_distance for prediction in potential.predict(frames)]
        compared = ForceComparison.of(potential, frames[::EXACT], forces[::EXACT])
        return {"latent": latent, "errors": compared.errors, "sigmas": compared.sigmas}

    found = _kept(potential, name, make)
    latent = found["latent"]
    return Run(latent.max(axis=1), list(found["errors"]), list(found["sigmas"]), list(latent[::EXACT]))


def _kept(potential: CommitteePotential, name: str, make: Callable[[], dict[str, list[np.ndarray]]]) -> dict:
    """Return arrays from the cache of this committee; make them if they are not there."""
    path = CACHE / "drift" / identity(potential) / f"{name}.npz"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = make()
        with replacing_path(path) as part, part.open("wb") as file:
            np.savez(file, **made)
    with np.load(path) as file:
        return dict(file)


def calibrated(sizes: Sizes, *, quick: bool) -> CommitteePotential:
    """Train on the labels of 300 K that benchmarks/systems.py makes, calibrate on other trajectories."""
    system = SYSTEMS["ethanol"]
    frames = load_frames(system, [int(HOME_K)], quick=quick)
    known = frames if quick else split(frames, 32, 0).train
    training = TrainingSettings(epochs=40) if quick else TrainingSettings()
    potential = fit(backbone_of(system), known, 0, training=training)

    def make() -> dict[str, list[np.ndarray]]:
        trajectories = [md((HOME_K,), 300, 2000 + seed) for seed in range(sizes.calibration_trajectories)]
        frames, forces = ([one for run in column for one in run[24::25]] for column in zip(*trajectories, strict=True))
        compared = ForceComparison.of(potential, frames, forces)
        return {"errors": compared.errors, "sigmas": compared.sigmas, "latent": compared.latent}

    at_home = _kept(potential, f"calibration-{sizes.calibration_trajectories}", make)
    gate = GateSettings(force_tolerance_eV_per_A=TOLERANCE_EV_PER_A)
    values = (list(at_home[name]) for name in ("errors", "sigmas", "latent"))
    found = with_fitted_calibration(potential, *values, gate)
    assert found.calibration is not None
    print(f"# at {HOME_K:g} K: {found.calibration.summary}", flush=True)
    at_least("drift: the guarantee is proven at home", float(found.calibration.guarantee_proven), 1)
    return found


def watched(potential: CommitteePotential, run: Run) -> DriftReport:
    """Give a trajectory to the test, check by check, as the monitor does with the screen."""
    calibration, scores = potential.calibration, potential.calibration_scores
    assert calibration is not None
    assert scores is not None
    test = DriftTest(scores, false_alarm_probability=ALPHA, uncertainty_spacing=UNCERTAINTY_SPACING)
    for number, distance in enumerate(run.distances):
        uncertainty = None
        if test.due and number % EXACT == 0:
            exact = number // EXACT
            uncertainty = calibration.frame_uncertainty(run.sigmas[exact], run.latent[exact])
        if test.add(float(distance), uncertainty):
            break
    return test.report


def simulated(sizes: Sizes) -> None:
    """False alarms on two independent scores whose correlation is known."""
    for time, phi, white in STREAMS:
        alarms = 0
        for run in range(sizes.simulated_runs):
            rng = np.random.default_rng([run, time])
            known = [tuple(rng.standard_normal(SIMULATED_FRAMES).tolist()) for _ in range(2)]
            values = [_scores(rng, sizes.simulated_checks, phi, white) for _ in range(2)]
            test = DriftTest(CalibrationScores(known[0], known[1]), false_alarm_probability=ALPHA)
            alarms += any(test.add(*pair) for pair in zip(*values, strict=True))
        kind = "a fast motion over a slow one, together " if white else ""
        within(
            f"drift: false alarms, simulated scores, {kind}correlated over {time} checks", alarms, sizes.simulated_runs
        )


def _scores(rng: np.random.Generator, count: int, phi: float, white: float) -> np.ndarray:
    steps = rng.standard_normal(count) * np.sqrt(1 - phi**2)
    steps[0] = rng.standard_normal()
    return np.asarray(lfilter([1], [1, -phi], steps) + white * rng.standard_normal(count)) / np.sqrt(1 + white**2)


def within(name: str, alarms: int, runs: int) -> None:
    """Report a share of false alarms: it holds within two standard errors of the stated one."""
    bound = ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / runs)
    at_most(f"{name}: {alarms} of {runs} runs", alarms / runs, float(round(bound, 4)))


def watch_runs(potential: CommitteePotential, sizes: Sizes, runs: int) -> list[Run]:
    """Print false alarms and delays; return the heated runs."""
    checks, false_alarms, delays, heated = 2 * sizes.checks_each, 0, [], []
    progress = counting("pairs of runs watched")
    for seed in range(runs):
        false_alarms += watched(potential, recorded(potential, (HOME_K,), checks, 3000 + seed)).outside
        heated.append(recorded(potential, (HOME_K, HOT_K), checks, 4000 + seed))
        state = watched(potential, heated[-1])
        early = state.alarm_step is not None and state.alarm_step <= sizes.checks_each
        false_alarms += early
        if not early:
            delays.append(np.inf if state.alarm_step is None else state.alarm_step - sizes.checks_each)
        print(f"# heated run {seed}: {state}", flush=True)
        progress(seed + 1, runs)
    within("drift: false alarms, dynamics at home, also before heating", false_alarms, 2 * runs)
    print(f"# delays in checks: {delays}", flush=True)
    at_least("drift: share of heated runs with an alarm after the heating", float(np.mean(np.isfinite(delays))), 0.95)
    median = float(np.median(delays))
    at_most("drift: median delay of the alarm, ps", median * EVERY * TIMESTEP_FS / 1e3, 5)
    at_most("drift: longest delay of the alarm, ps", max(delays) * EVERY * TIMESTEP_FS / 1e3, 5)
    return heated


def way_back(potential: CommitteePotential, sizes: Sizes, heated: list[Run], folder: Path) -> None:
    """Recalibrate on streams at 600 K until the guarantee is proven; count on the frames of the heated runs."""
    old = potential.calibration
    assert old is not None
    start = -(-(sizes.checks_each + SETTLING) // EXACT)
    errors, sigmas, latent = (
        [values for run in heated for values in getattr(run, what)[start:]] for what in ("errors", "sigmas", "latent")
    )
    hot = errors, sigmas, latent
    exceed = sum(float(values.max()) > TOLERANCE_EV_PER_A for values in errors)
    print(f"# {exceed} of {len(errors)} frames at {HOT_K:g} K exceed {TOLERANCE_EV_PER_A:g} eV/Å", flush=True)
    _count("earlier calibration", [old.coverage(*hot)])
    save(potential, folder / "model")
    labels, covered = [], []
    for seed in range(sizes.streams):
        stream = folder / f"hot-{seed}.extxyz"
        write(stream, md((HOT_K,), sizes.stream_frames, 5000 + seed)[0])
        needed = np.inf
        for count in sizes.labels:
            to = folder / f"again-{seed}-{count}"
            done = recalibrate(folder / "model", to, stream=stream, engine=ENGINE, count=count)
            print(f"# stream {seed}, {count} labels: {done.after}", flush=True)
            if done.proven:
                needed = count
                new = load(to, potential.backbone).calibration
                assert new is not None
                covered.append(new.coverage(*hot))
                break
        labels.append(needed)
    print(f"# labels until the guarantee is proven again, by stream: {labels}", flush=True)
    at_most("drift: median of the labels until the guarantee is proven again", float(np.median(labels)), 80)
    _count("new calibrations", covered)


def _count(name: str, found: Sequence[Coverage]) -> None:
    """Report the share exceeding among trusted hot frames; it holds unless 10 % is outside its 95 % bound."""
    trusted, exceeding = (sum(getattr(one, what) for one in found) for what in ("trusted", "trusted_exceeding"))
    lower = float(beta.ppf(0.05, exceeding, trusted - exceeding + 1)) if exceeding else 0.0
    what = f"{exceeding} of {trusted} trusted of {sum(one.frames for one in found)}"
    share = exceeding / trusted if trusted else float("nan")
    report(f"drift: share exceeding at 600 K, {name}: {what}", share, f"<= {LIMIT:g}", holds=lower <= LIMIT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("simulated", "dynamics"))
    parser.add_argument("--runs", type=int, default=12, help="trajectories at home, and as many that are heated")
    parser.add_argument("--quick", action="store_true", help="one short run: shows that it runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sizes = QUICK if arguments.quick else FULL
    if arguments.only != "dynamics":
        simulated(sizes)
    if arguments.only != "simulated":
        potential = calibrated(sizes, quick=arguments.quick)
        heated = watch_runs(potential, sizes, 1 if arguments.quick else arguments.runs)
        with tempfile.TemporaryDirectory() as folder:
            way_back(potential, sizes, heated, Path(folder))


if __name__ == "__main__":
    main()
