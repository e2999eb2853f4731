"""A model that is calibrated at T and then watches dynamics at 2 T: alarms, their delay, and the way back.

    python benchmarks/drift.py [--runs N] [--quick]

Copper, 4 atoms, EMT both drives the dynamics and makes the labels; the committee stands on the distilled checkpoint of
``tests/data``, and is trained and calibrated at 300 K. The tolerance is the 97 % quantile of the largest errors at
home, so that home gives no reason to tell frames apart. Runs of 1024 checks, 20 fs apart: at 300 K to their end, and
with the thermostat at 600 K from the middle on. False alarms are counted on runs that never leave 300 K, and on
simulated scores (autoregressive, correlated over 1, 3 and 19 checks), against the stated 1 % of runs. After the alarm
frames of the hot half are labelled, by the random audit of ``al-loop recalibrate``, until the guarantee is proven
again.
"""

import argparse
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from figures import at_least, at_most, report
from systems import SYSTEMS

from al_loop.config import GateSettings
from al_loop.gate.calibrate import ForceComparison, with_fitted_calibration
from committee import CommitteePotential, CommitteeSettings, TrainingFrame, TrainingSettings, load_backbone, train
from committee.uncertainty.drift import CalibrationScores, DriftTest
from committee.uncertainty.score import largest

HOME_K, HOT_K = 300.0, 600.0
EVERY, TIMESTEP_FS = 5, 4.0
CALIBRATION_FRAMES = 40
ALPHA = 0.01
LABELS = (16, 29, 36, 44, 60, 80)


def md(temperatures_K: tuple[float, ...], checks: int, seed: int) -> list[Atoms]:
    """Frames of one trajectory that spends equal parts at each temperature, after 1 ps at the first."""
    atoms, rng = bulk("Cu", cubic=True), np.random.default_rng([12, seed])
    atoms.calc = EMT()
    thermalize_momenta(atoms, temperature_K=temperatures_K[0], rng=rng)
    dynamics = Langevin(
        atoms, TIMESTEP_FS * units.fs, temperature_K=temperatures_K[0], friction=0.01 / units.fs, rng=rng, fixcm=False
    )
    dynamics.run(250)
    frames: list[Atoms] = []
    for temperature_K in temperatures_K:
        dynamics.set_temperature(temperature_K=temperature_K)
        for _ in range(checks // len(temperatures_K)):
            dynamics.run(EVERY)
            frames.append(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True))
    return frames


def emt_forces(atoms: Atoms) -> np.ndarray:
    labelled = atoms.copy()
    labelled.calc = EMT()
    return labelled.get_forces()


def compared(potential: CommitteePotential, frames: list[Atoms]) -> ForceComparison:
    return ForceComparison.of(potential, frames, [emt_forces(atoms) for atoms in frames])


def trained(folder: Path, *, quick: bool) -> CommitteePotential:
    frames = []
    for number, atoms in enumerate(frame for seed in range(4) for frame in md((HOME_K,), 120, 1000 + seed)[::30]):
        labelled = atoms.copy()
        labelled.calc = EMT()
        energy, forces, stress = labelled.get_potential_energy(), labelled.get_forces(), labelled.get_stress()
        frames.append(TrainingFrame(f"{number}", atoms, energy, forces, stress, group=f"{number // 4}"))
    return train(
        load_backbone(SYSTEMS["distilled"].foundation),
        frames,
        committee=CommitteeSettings(members=4 if quick else 8),
        training=TrainingSettings(epochs=40 if quick else 200),
        cache_folder=folder,
        seed=0,
    )


def calibrated(potential: CommitteePotential) -> CommitteePotential:
    """Calibrate on frames 0.8 ps apart of four trajectories at home."""
    spread = [frame for seed in range(4) for frame in md((HOME_K,), CALIBRATION_FRAMES * 10, 2000 + seed)[::40]]
    at_home = compared(potential, spread)
    gate = GateSettings(force_tolerance_eV_per_A=float(np.quantile(largest(at_home.errors), 0.97)))
    return with_fitted_calibration(potential, at_home.errors, at_home.sigmas, at_home.latent, gate)


def watched(potential: CommitteePotential, frames: list[Atoms]) -> DriftTest:
    """Give a trajectory to the test, check by check, as the monitor does with ``exact``."""
    calibration, scores = potential.calibration, potential.calibration_scores
    assert calibration is not None
    assert scores is not None
    test = DriftTest(scores, false_alarm_probability=ALPHA)
    for answer in potential.predict(frames, "exact"):
        combined = calibration.uncertainty(answer.atomic_force_uncertainty, answer.latent_distance)
        if test.add(float(answer.latent_distance.max()), float(combined.max())):
            break
    return test


def simulated(runs: int, checks: int) -> None:
    """False alarms on scores whose correlation is known."""
    for time, phi in ((1, 0.0), (3, 0.5), (19, 0.9)):
        for reference in (16, 100):
            alarms = 0
            for run in range(runs):
                rng = np.random.default_rng([run, time, reference])
                steps = rng.standard_normal(checks) * np.sqrt(1 - phi**2)
                values = np.empty(checks)
                values[0] = rng.standard_normal()
                for i in range(1, checks):
                    values[i] = phi * values[i - 1] + steps[i]
                known = tuple(rng.standard_normal(reference).tolist())
                test = DriftTest(CalibrationScores(known, known), false_alarm_probability=ALPHA)
                alarms += any(test.add(value, value) for value in values)
            given = f"{reference} calibration frames, correlated over {time} checks"
            name = f"drift: simulated, {given}: share of {runs} runs"
            within(name, alarms, runs)


def within(name: str, alarms: int, runs: int) -> None:
    """Report a share of false alarms: it holds within two standard errors of the stated one."""
    bound = ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / runs)
    at_most(name, alarms / runs, float(round(bound, 4)))


def heated(potential: CommitteePotential, runs: int, checks: int) -> None:
    """Delay of the alarm, and exceedance among trusted frames before and after it is acted on."""
    delays, frames = [], []
    for seed in range(runs):
        trajectory = md((HOME_K, HOT_K), checks, 4000 + seed)
        state = watched(potential, trajectory).report
        delays.append(state.alarm_step - checks // 2 if state.alarm_step is not None else np.inf)
        frames.append(trajectory[checks // 2 + 25 :])
    print(f"# delays in checks: {delays}", flush=True)
    found = np.isfinite(delays) & (np.array(delays) > 0)
    at_least("drift: share of heated runs with an alarm after the heating", float(np.mean(found)), 0.95)
    at_most("drift: median delay of the alarm, ps of dynamics", float(np.median(delays)) * EVERY * TIMESTEP_FS / 1e3, 5)
    if runs == 1:  # what is labelled must not be tested on
        half = len(frames[0]) // 2
        frames = [frames[0][:half], frames[0][half:]]
    way_back(potential, frames[0], [frame for one in frames[1:] for frame in one][::5])


def way_back(potential: CommitteePotential, stream: list[Atoms], others: list[Atoms]) -> None:
    """Label frames of the hot stream until the guarantee is proven; test on other frames."""
    old = potential.calibration
    assert old is not None
    gate = GateSettings(force_tolerance_eV_per_A=old.tolerance_eV_per_A)
    hot, fresh = compared(potential, stream), compared(potential, others)
    tested = (fresh.errors, fresh.sigmas, fresh.latent)
    before = old.coverage(*tested)
    print(f"# {old.summary}; hot: {before}", flush=True)
    report(
        "drift: share exceeding among trusted hot frames, old calibration",
        before.trusted_exceeding / max(1, before.trusted),
        "withdrawn",
        holds=True,
    )
    needed, after = np.inf, before
    for labels in LABELS:
        edges = np.linspace(0, len(stream), labels + 1).astype(int)
        rng = np.random.default_rng(labels)
        chosen = [int(rng.integers(low, high)) for low, high in pairwise(edges)]
        parts = [[values[i] for i in chosen] for values in (hot.errors, hot.sigmas, hot.latent)]
        new = with_fitted_calibration(potential, *parts, gate).calibration
        assert new is not None
        after = new.coverage(*tested)
        print(f"# {labels} labels: {new.summary}; other hot frames: {after}", flush=True)
        if new.guarantee_proven:
            needed = labels
            break
    at_most("drift: labels until the guarantee is proven again", needed, LABELS[-1])
    share = after.trusted_exceeding / max(1, after.trusted)
    at_most("drift: share exceeding among trusted hot frames, new calibration", share, 0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="trajectories at home, and as many that are heated")
    parser.add_argument("--quick", action="store_true", help="one short run: shows that it runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runs, checks = (1, 512) if arguments.quick else (arguments.runs, 1024)
    simulated(*((10, 300) if arguments.quick else (400, 1500)))
    with tempfile.TemporaryDirectory() as folder:
        potential = calibrated(trained(Path(folder), quick=arguments.quick))
        alarms = sum(watched(potential, md((HOME_K,), checks, 3000 + seed)).report.outside for seed in range(runs))
        within(f"drift: dynamics at home: share of {runs} runs with a false alarm", alarms, runs)
        heated(potential, runs, checks)


if __name__ == "__main__":
    main()
