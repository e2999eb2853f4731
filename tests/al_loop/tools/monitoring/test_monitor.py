"""A monitor beside a dynamics: it sees, and changes nothing."""

import random

import numpy as np
import pytest
import torch
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from al_loop.errors import InputError
from al_loop.tools.monitoring.alarms import MonitorStop
from al_loop.tools.monitoring.monitor import ReliabilityMonitor
from committee import CommitteeCalculator


def dynamics(atoms, calculator, kind="langevin", temperature_K=300):
    atoms = atoms.copy()
    atoms.calc = calculator
    rng = np.random.default_rng(5)
    thermalize_momenta(atoms, temperature_K=temperature_K, rng=rng)
    if kind == "nve":
        return VelocityVerlet(atoms, 2 * units.fs)
    return Langevin(atoms, 2 * units.fs, temperature_K=temperature_K, friction=0.02 / units.fs, rng=rng, fixcm=False)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", ["langevin", "nve"])
@pytest.mark.parametrize("own", [True, False])
def test_positions_are_the_same_bits_with_and_without(potential, make_copper, kind, own) -> None:
    def run(watched):
        dyn = dynamics(make_copper(), EMT() if own else CommitteeCalculator(potential), kind)
        if watched:
            monitor = ReliabilityMonitor.load(potential, dyn)
            dyn.attach(monitor, interval=3)
        dyn.run(12)
        return dyn.atoms, monitor if watched else None

    before = (random.getstate(), repr(np.random.get_state()), torch.get_rng_state())  # noqa: NPY002
    plain, _ = run(False)
    atoms, monitor = run(True)
    after = (random.getstate(), repr(np.random.get_state()), torch.get_rng_state())  # noqa: NPY002
    np.testing.assert_array_equal(atoms.positions, plain.positions)
    np.testing.assert_array_equal(atoms.get_momenta(), plain.get_momenta())
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])
    assert monitor.summary.checks == 5
    assert monitor.evaluations == (5 if own else 0)  # of the dynamics' own, none is repeated


def test_a_quiet_run_is_trusted_mostly_by_the_screen(potential, make_copper, read_log, tmp_path) -> None:
    dyn = dynamics(make_copper(amplitude_A=0.01), CommitteeCalculator(potential), temperature_K=100)
    dyn.attach(ReliabilityMonitor.load(potential, dyn), interval=2)
    dyn.run(16)
    lines = read_log(tmp_path / "monitor.jsonl")
    checks = [line for line in lines if line["event"] == "check"]
    assert [check["step"] for check in checks] == list(range(0, 17, 2))
    assert checks[-1]["time_ps"] == pytest.approx(0.032)
    assert {check["verdict"] for check in checks} == {"trusted"}
    looked = [check["looked"] for check in checks]
    assert looked[0] == "exact"
    assert looked.count("screened") >= 6


def test_the_exact_answer_is_that_of_the_committee(potential, make_copper) -> None:
    dyn = dynamics(make_copper(), CommitteeCalculator(potential))
    monitor = ReliabilityMonitor.load(potential, dyn, exact=True, log=None)
    dyn.attach(monitor, interval=4)
    dyn.run(4)
    (expected,) = potential.predict([dyn.atoms], "exact")
    assert monitor.latest.force_uncertainty_eV_per_A == pytest.approx(expected.atomic_force_uncertainty.max())
    assert monitor.latest.energy_eV == pytest.approx(expected.energy)


def test_a_run_that_goes_astray_is_stopped_with_its_frame_stored(potential, make_copper, read_log, tmp_path) -> None:
    dyn = dynamics(make_copper(), EMT(), temperature_K=6000)
    monitor = ReliabilityMonitor.load(potential, dyn, on_alarm=("stop",))
    dyn.attach(monitor, interval=2)
    with pytest.raises(MonitorStop, match="the last of monitor-alarms"):
        dyn.run(400)
    frame = read(tmp_path / "monitor-alarms.extxyz", -1)
    np.testing.assert_allclose(frame.positions, dyn.atoms.positions, atol=1e-7)
    assert frame.info["step"] == monitor.latest.step == dyn.nsteps
    assert frame.arrays["forces_uncertainty"].shape == (4, 3)
    assert frame.info["reason"] == monitor.latest.verdict.reason
    summary = read_log(tmp_path / "monitor.jsonl")[-1]
    assert (summary["event"], summary["episodes"], summary["stored"]) == ("summary", 1, 1)


def test_an_episode_is_stored_at_its_1st_2nd_4th_check(potential, make_copper, caplog) -> None:
    dyn = dynamics(make_copper(amplitude_A=0.35), EMT(), temperature_K=3000)
    monitor = ReliabilityMonitor.load(potential, dyn, log=None)
    for _ in range(9):
        monitor()
    told = monitor.close()
    assert (told["alarms"], told["episodes"], told["stored"], told["share_trusted"]) == (9, 1, 4, 0.0)
    assert told["last_trusted_step"] is None
    assert sum("step 0 is" in message for message in caplog.messages) == 4


def test_without_calibration_it_says_so(potential, make_copper, caplog) -> None:
    dyn = dynamics(make_copper(), CommitteeCalculator(potential))
    monitor = ReliabilityMonitor.load(potential.with_calibration(None), dyn, on_alarm=("stop",), log=None)
    dyn.attach(monitor, interval=2)
    dyn.run(4)
    assert "not calibrated" in caplog.text
    told = monitor.close()
    assert (told["uncalibrated"], told["share_trusted"], told["alarms"]) == (3, 0.0, 0)


def test_nan_is_an_alarm_and_not_an_error(potential, make_copper) -> None:
    dyn = dynamics(make_copper(), EMT())
    monitor = ReliabilityMonitor.load(potential, dyn, log=None)
    monitor()
    dyn.atoms.positions[1, 2] = np.nan
    monitor()
    assert monitor.latest.verdict.kind == "discard"
    assert "non-finite" in monitor.latest.verdict.reason


def test_atoms_that_come_begin_another_trajectory(potential, make_copper) -> None:
    dyn = dynamics(make_copper(), None)
    monitor = ReliabilityMonitor.load(potential, dyn, log=None)
    for _ in range(3):
        monitor()
    dyn.atoms.extend(dyn.atoms[:1])
    dyn.atoms.positions[-1] += dyn.atoms.cell.lengths() / 2
    monitor()
    assert monitor.summary.checks == 4


def test_what_the_model_was_not_made_for_is_refused(potential, make_copper) -> None:
    molecule = make_copper()
    molecule.pbc = False
    with pytest.raises(InputError, match=r"periodic in 0 directions, the model was trained .* in 3"):
        ReliabilityMonitor.load(potential, dynamics(molecule, EMT()), log=None)
    ReliabilityMonitor.load(potential, dynamics(molecule, EMT()), log=None, any_periodicity=True)
    with pytest.raises(InputError, match="Po"):
        ReliabilityMonitor.load(potential, dynamics(bulk("Po", "sc", a=3.3), EMT()), log=None)
    with pytest.raises(InputError, match="expected the ASE dynamics"):
        ReliabilityMonitor.load(potential, make_copper(), log=None)
    with pytest.raises(InputError, match="on_alarm"):
        ReliabilityMonitor.load(potential, dynamics(make_copper(), EMT()), on_alarm=("shout",))
