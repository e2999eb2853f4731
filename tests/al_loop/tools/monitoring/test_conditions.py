"""A monitored run that leaves the conditions of the calibration is told, and its guarantee is withdrawn."""

import json
from dataclasses import replace

import numpy as np
import pytest
from ase import units
from ase.calculators.emt import EMT
from ase.io import write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.config import GateSettings
from al_loop.errors import InputError
from al_loop.gate.calibrate import ForceComparison, with_fitted_calibration
from al_loop.tools.monitoring.alarms import MonitorStop
from al_loop.tools.monitoring.monitor import ReliabilityMonitor
from committee import save


def forces(atoms):
    judged = atoms.copy()
    judged.calc = EMT()
    return judged.get_forces()


@pytest.fixture(scope="module")
def at_home(potential, make_copper):
    """The copper committee, calibrated on frames that are rattled by 0.06 Å."""
    frames = [make_copper(500 + seed) for seed in range(40)]
    compared = ForceComparison.of(potential, frames, [forces(atoms) for atoms in frames])
    gate = GateSettings(force_tolerance_eV_per_A=0.5)
    return with_fitted_calibration(potential, compared.errors, compared.sigmas, compared.latent, gate)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def visited(model, make_copper, amplitudes_A, **options):
    """Check frames rattled by the given amplitudes one after another."""
    atoms = make_copper(0)
    dynamics = Langevin(atoms, 2 * units.fs, temperature_K=300, friction=0.02 / units.fs, fixcm=False)
    monitor = ReliabilityMonitor.load(model, dynamics, **options)
    for _ in each_visited(monitor, dynamics, make_copper, amplitudes_A):
        pass
    return monitor


def each_visited(monitor, dynamics, make_copper, amplitudes_A):
    """Check such frames, and yield the number of each; the step of the dynamics is ten times as large."""
    for seed, amplitude_A in enumerate(amplitudes_A):
        dynamics.atoms.positions = make_copper(1000 + seed, amplitude_A).positions
        dynamics.nsteps = 10 * seed
        monitor()
        yield seed


@pytest.mark.parametrize("exact", [True, False])
def test_a_run_inside_keeps_the_guarantee_and_one_outside_loses_it(at_home, make_copper, read_log, tmp_path, exact):
    told = []
    dynamics = Langevin(make_copper(0), 2 * units.fs, temperature_K=300, friction=0.02 / units.fs, fixcm=False)
    monitor = ReliabilityMonitor.load(at_home, dynamics, exact=exact, on_drift=told.append)
    for number in each_visited(monitor, dynamics, make_copper, [0.06] * 130 + [0.12] * 50):
        if number == 129:
            inside = monitor.as_dict()["conditions"]
    assert (inside["state"], inside["guarantee_holds"], inside["confidence"]) == ("inside", True, 0.9)
    assert inside["used"] > 10
    assert "show no difference" in inside["text"]
    outside = monitor.close()["conditions"]
    assert (outside["state"], outside["guarantee_holds"], outside["confidence"]) == ("outside", False, None)
    assert 1300 <= outside["alarm_step"] <= 1700
    assert abs(outside["since_step"] - 1300) <= 120
    assert f"al-loop recalibrate --since-step {outside['since_step']}" in outside["text"]
    assert told[0]["state"] == "outside"
    assert len(told) == 1
    lines = read_log(tmp_path / "monitor.jsonl")
    (event,) = [line for line in lines if line["event"] == "conditions"]
    assert event["alarm_step"] == outside["alarm_step"]
    trusted = [line for line in lines if line["event"] == "check" and line["step"] > outside["alarm_step"]]
    assert outside["trusted_without_guarantee"] == sum(line["verdict"] == "trusted" for line in trusted)


def test_stop_ends_the_run_when_the_conditions_are_left(at_home, make_copper) -> None:
    """The gate trusts every frame here, so that only the comparison with the calibration frames can end the run."""
    generous = replace(at_home.calibration, trust_threshold=1e9, discard_threshold=1e9, latent_threshold=1e9)
    model = at_home.with_calibration(generous, at_home.calibration_scores)
    with pytest.raises(MonitorStop, match="outside the calibrated conditions since about step"):
        visited(model, make_copper, [0.12] * 128, on_alarm=("stop",), exact=True, log=None)


def test_a_model_without_scores_is_not_tested_and_says_how_to_change_that(potential, make_copper) -> None:
    state = visited(potential, make_copper, [0.06] * 3, log=None).as_dict()["conditions"]
    assert state["state"] == "not tested"
    assert "al-loop recalibrate" in state["text"]
    without = visited(potential.with_calibration(None), make_copper, [0.06] * 3, log=None).as_dict()["conditions"]
    assert (without["state"], without["guarantee_holds"]) == ("not tested", False)
    with pytest.raises(InputError, match="expected a number between 0 and 1"):
        visited(potential, make_copper, [], false_alarm_probability=1.0)


def test_heated_md_is_found_and_not_before_the_heating(at_home, make_copper, tmp_path) -> None:
    """132 frames of EMT's own dynamics at 300 K, then 48 at 900 K, in a file that the command checks."""

    def run(atoms, temperature_K, seed, frames):
        rng = np.random.default_rng(seed)
        atoms.calc = EMT()
        thermalize_momenta(atoms, temperature_K=temperature_K, rng=rng)
        dynamics = Langevin(
            atoms, 4 * units.fs, temperature_K=temperature_K, friction=0.02 / units.fs, rng=rng, fixcm=False
        )
        dynamics.run(30)
        seen = []
        for _ in range(frames):
            dynamics.run(15)
            seen.append(atoms.copy())
        return seen

    known = [atoms for seed in range(8) for atoms in run(make_copper(seed, 0.02), 300, seed, 12)[::3]]
    compared = ForceComparison.of(at_home, known, [forces(atoms) for atoms in known])
    model = with_fitted_calibration(at_home, compared.errors, compared.sigmas, compared.latent, GateSettings())
    save(model, tmp_path / "model")
    home = run(make_copper(77, 0.02), 300, 77, 132)
    write("heated.extxyz", home + run(home[-1].copy(), 900, 78, 48))
    arguments = ["monitor", "--model", "model", "--trajectory", "heated.extxyz", "--temperature", "900"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout.splitlines()[-1])["conditions"]
    assert told["state"] == "outside"
    assert 132 < told["alarm_step"] < 180
    assert told["since_step"] >= 120
