"""Engines that fork, leak processes or close files: every label is correct, and no process is left."""

import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from dft_interfaces.isolation import engine_process
from dft_interfaces.isolation.engine import IsolatedEngine
from dft_interfaces.label import Failure, LabelStatus
from dft_interfaces.settings import ASECalculatorSettings

CALCULATORS = Path(__file__).parents[1] / "integration"
SURVIVED = (
    "leak",
    "leak_stubborn",
    "leak_daemon",
    "leak_thread",
    "ignore_signals",
    "come_back_twice",
    "close_output",
    "fill_output",
    "wander",
    "unsettle",
)


@pytest.fixture(autouse=True)
def _findable(monkeypatch):
    monkeypatch.syspath_prepend(str(CALCULATORS))


def rude(tmp_path, *how):
    arguments = {"how": how, "count_file": str(tmp_path / "count"), "mark": str(tmp_path)}
    return ASECalculatorSettings(engine="ase", calculator="rude_calculators.RudeEMT", arguments=arguments)


def copper(seed):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.08, seed=seed)
    return atoms


def energy_of(atoms):
    calculator = EMT()
    calculator.calculate(atoms)
    return calculator.results["energy"]


def left(mark):
    """Return the running processes with the mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("RUDE_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.cmdline())
        except psutil.Error:
            continue
    return found


def test_an_engine_that_disturbs_its_process_gives_correct_labels(tmp_path):
    frames = [copper(seed) for seed in range(2 * len(SURVIVED))]
    with IsolatedEngine(rude(tmp_path, *SURVIVED)) as engine:
        labels = [engine.label(atoms) for atoms in frames]
        assert len(left(str(tmp_path))) >= 3  # what was leaked runs meanwhile: a program may be meant to stay
        begun = time.monotonic()
    assert time.monotonic() - begun < engine_process._GRACE_S
    assert left(str(tmp_path)) == []
    assert [label.energy_eV for label in labels] == [energy_of(atoms) for atoms in frames]


@pytest.mark.parametrize("how", ["leave", "leave_at_once"])
def test_an_engine_that_leaves_gives_no_label_and_the_next_one_calculates(tmp_path, how):
    with IsolatedEngine(rude(tmp_path, "leak_daemon", "leak_thread", how)) as engine:
        assert engine.label(copper(0)).status is LabelStatus.CONVERGED
        assert engine.label(copper(1)).status is LabelStatus.CONVERGED
        begun = time.monotonic()
        label = engine.label(copper(2))
        assert time.monotonic() - begun < engine_process._GRACE_S
        assert label.failure is Failure.CRASH
        assert "exit code 0" in label.message
        assert left(str(tmp_path)) == []
        assert engine.label(copper(3)).energy_eV == energy_of(copper(3))
    assert left(str(tmp_path)) == []


def test_processes_below_a_frozen_guard_are_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_process, "_GRACE_S", 0.5)
    with IsolatedEngine(rude(tmp_path, "leak_daemon")) as engine:
        assert np.isfinite(engine.label(copper(0)).energy_eV)
        deadline = time.monotonic() + 30
        while not left(str(tmp_path)):  # the daemon has its mark once it has been executed
            assert time.monotonic() < deadline
            time.sleep(0.05)
        engine._process._process.send_signal(19)
    assert left(str(tmp_path)) == []
