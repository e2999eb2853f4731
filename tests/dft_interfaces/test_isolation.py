"""An engine in a separate process: every failure becomes a label, and the next label is good."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from ase.build import bulk, molecule

from dft_interfaces.engines import build_engine
from dft_interfaces.errors import EngineNotInstalledError, EngineSettingsError
from dft_interfaces.isolation import engine_process
from dft_interfaces.isolation.engine import IsolatedEngine
from dft_interfaces.label import Failure, LabelStatus
from dft_interfaces.output_tail import EngineLog
from dft_interfaces.settings import (
    ASECalculatorSettings,
    EspressoSettings,
    GPAWSettings,
    LimitSettings,
    PySCFSettings,
)
from dft_interfaces.testing import Tolerances, check_engine

CALCULATORS = Path(__file__).parents[1] / "integration"
TIGHT = Tolerances(forces_eV_per_A=1e-4, stress_eV_per_A3=1e-5, displacement_A=1e-4, strain=1e-5)


@pytest.fixture(autouse=True)
def _findable(monkeypatch):
    monkeypatch.syspath_prepend(str(CALCULATORS))


def failing(how, **arguments):
    return ASECalculatorSettings(
        engine="ase", calculator="failing_calculators.FailingEMT", arguments={"how": how, **arguments}
    )


def copper(repeat=1):
    atoms = bulk("Cu", cubic=True) * (repeat, 1, 1)
    atoms.rattle(0.08, seed=1)
    strain = np.array([[0.03, 0.02, -0.03], [0.02, -0.02, 0.04], [-0.03, 0.04, 0.015]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


EARLIER = set()  # other tests' processes, such as the resource tracker of multiprocessing


@pytest.fixture(autouse=True)
def _not_of_this_test():
    EARLIER.clear()
    EARLIER.update(psutil.Process().children(recursive=True))


def below(process=None):
    return [child for child in (process or psutil.Process()).children(recursive=True) if child not in EARLIER]


def test_it_keeps_the_contract_and_calculates_the_same():
    settings = failing("")
    with IsolatedEngine(settings) as engine:
        label = check_engine(engine, copper(), TIGHT)
        assert engine.unknown_elements(["Cu", "Pu"]) == build_engine(settings).unknown_elements(["Cu", "Pu"])
        assert engine.estimate_s(copper()) == build_engine(settings).estimate_s(copper())
        assert engine.level_of_theory == build_engine(settings).level_of_theory
    direct = build_engine(settings).label(copper())
    assert (label.energy_eV, label.forces_eV_per_A.tolist()) == (direct.energy_eV, direct.forces_eV_per_A.tolist())
    assert below() == []


@pytest.mark.parametrize(
    ("how", "failure", "fragments"),
    [
        ("segfault", Failure.CRASH, ("signal 11 (Segmentation fault)", "string_at")),
        ("leave", Failure.CRASH, ("exit code 3", "the last lines")),
        ("kill", Failure.CRASH, ("signal 9", "memory runs out")),
        ("hang", Failure.TIME, ("time limit of 1 s",)),
        ("hang_in_c", Failure.TIME, ("time limit of 1 s",)),
        ("memory_error", Failure.MEMORY, ("Unable to allocate",)),
        ("not_finite", Failure.NOT_FINITE, ("non-finite forces on atoms [0]",)),
        ("no_energy", Failure.NOT_FINITE, ("energy nan",)),
        ("wrong_shape", Failure.OUTPUT, ("shape (3, 3), expected (4, 3)",)),
        ("net_force", Failure.NET_FORCE, ("net force of 2.000",)),
        ("absurd", Failure.OUTLIER, ("3e+05 eV/Å on atom 0",)),
        ("no_output", Failure.OUTPUT, ("no-such-output.xml",)),
        ("disk_full", Failure.DISK, ("No space left on device",)),
        ("raise_error", Failure.CRASH, ("something is wrong with it",)),
    ],
)
def test_every_failure_is_a_label_of_its_kind_and_the_next_label_is_good(how, failure, fragments, tmp_path):
    settings = failing(how, count_file=str(tmp_path / "count"), times=1)
    with IsolatedEngine(settings, LimitSettings(time_s=1)) as engine:
        label = engine.label(copper())
        assert label.failure is failure, label.message
        assert (label.energy_eV, label.level_of_theory) == (None, engine.level_of_theory.fingerprint)
        assert label.cost_s > 0
        for part in fragments:
            assert part in label.message
        assert not [process for process in below() if process.name() == "sleep"]
        assert engine.label(copper()).status is LabelStatus.CONVERGED
    assert below() == []


def test_memory_is_limited_for_the_calculation_and_what_it_starts():
    with IsolatedEngine(failing("hog"), LimitSettings(memory_GB=0.6)) as engine:
        label = engine.label(copper())
    assert label.failure is Failure.MEMORY
    assert "and its limit is 0.6 GB" in label.message


def test_an_engine_that_hangs_up_and_lives_on_is_ended_with_its_programs(monkeypatch):
    monkeypatch.setattr(engine_process, "_GRACE_S", 2.0)
    with IsolatedEngine(failing("hang_up")) as engine:
        label = engine.label(copper())
        assert (label.failure, below()) == (Failure.CRASH, [])
    assert "closed its connection without a reply and was ended" in label.message


def test_output_before_the_time_limit_is_in_the_message():
    with IsolatedEngine(failing("say_and_hang"), LimitSettings(time_s=4)) as engine:
        first, *lines = engine.label(copper()).message.splitlines()
    assert "time limit of 4 s" in first
    assert set(lines) == {"printed by Python", "printed by compiled code", "program.out:", "written by a program"}


def test_output_files_of_a_real_program_before_its_time_limit_are_in_the_message():
    settings = EspressoSettings(engine="espresso", cutoff_eV=550, kpoint_density_A=60)
    if settings.remedy():
        pytest.skip(settings.remedy())
    with IsolatedEngine(settings, LimitSettings(time_s=3)) as engine:
        label = engine.label(bulk("Si"))
    assert label.failure is Failure.TIME
    assert "espresso.pwo:" in label.message


def test_output_before_an_error_is_in_the_message():
    with IsolatedEngine(failing("say_and_raise")) as engine:
        label = engine.label(copper())
    assert label.message.startswith("RuntimeError: something is wrong with it\ncycle 7 did not look well\nTraceback")


def test_endless_output_does_not_fill_the_disk():
    with IsolatedEngine(failing("print_without_end")) as engine:
        label = engine.label(copper())
    assert label.failure is Failure.CRASH
    assert label.message.endswith("the last lines")
    assert "\0" not in label.message


def test_the_log_of_gigabytes_keeps_its_end():
    log = EngineLog()
    for number in range(4000):
        log.write(f"{number:999d}\n")
    assert len(log.getvalue()) < 2e6
    assert log.last_lines().split()[-19:] == [str(number) for number in range(3981, 4000)]


def test_output_of_an_engine_is_not_a_reply():
    with IsolatedEngine(failing("talk")) as engine:
        assert engine.label(copper()).status is LabelStatus.CONVERGED
        assert engine.label(copper()).status is LabelStatus.CONVERGED


def test_structures_that_are_no_structures_are_rejected():
    atoms = copper()
    atoms.positions[0, 0] = np.nan
    with IsolatedEngine(failing("")) as engine:
        assert engine.label(atoms).failure is Failure.UNSUITABLE


def test_errors_of_the_settings_come_at_once():
    with pytest.raises(EngineSettingsError, match="xc 'no-such'"):
        IsolatedEngine(PySCFSettings(engine="pyscf", xc="no-such"))
    with pytest.raises(EngineNotInstalledError, match="no_such_library"):
        IsolatedEngine(ASECalculatorSettings(engine="ase", calculator="no_such_library.Calculator"))
    assert below() == []


def test_a_dead_child_between_two_labels_costs_nothing():
    with IsolatedEngine(failing("")) as engine:
        engine.label(copper())
        for process in below():
            process.kill()
        assert engine.label(copper()).status is LabelStatus.CONVERGED
        engine.close()
        assert engine.label(copper()).status is LabelStatus.CONVERGED


@pytest.mark.parametrize("dft", ["pyscf", "gpaw"])
def test_kill_9_during_a_real_calculation(dft):
    settings, atoms = {
        "pyscf": (PySCFSettings(engine="pyscf", basis="def2-tzvp"), molecule("C6H6")),
        "gpaw": (GPAWSettings(engine="gpaw", cutoff_eV=700, kpoint_density_A=60), bulk("Si")),
    }[dft]
    atoms.rattle(0.05, seed=1)
    with IsolatedEngine(settings) as engine:
        engine_process = max(below(), key=lambda process: process.memory_info().rss)
        busy_s = engine_process.cpu_times().user
        killer = threading.Thread(target=kill_when_busy, args=(engine_process, busy_s + 0.3))
        killer.start()
        label = engine.label(atoms)
        killer.join()
    assert label.failure is Failure.CRASH
    assert "signal 9" in label.message
    assert below() == []


def kill_when_busy(process, cpu_s):
    while process.cpu_times().user < cpu_s:
        time.sleep(0.01)
    process.kill()


def test_a_time_limit_of_a_second_ends_a_real_calculation_that_takes_longer():
    with IsolatedEngine(PySCFSettings(engine="pyscf", basis="def2-tzvp"), LimitSettings(time_s=1)) as engine:
        label = engine.label(molecule("C6H6"))
    assert (label.status, label.failure) == (LabelStatus.FAILED, Failure.TIME)
    assert label.cost_s >= 1
    assert below() == []


def test_a_full_disk_under_a_real_program():
    """RLIMIT_FSIZE simulates a full disk: pw.x may not write a byte."""
    settings = EspressoSettings(engine="espresso", cutoff_eV=400, kpoint_density_A=3)
    if settings.remedy():
        pytest.skip(settings.remedy())
    with IsolatedEngine(settings) as engine:
        for process in below():
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        label = engine.label(bulk("Si"))
    assert label.failure is Failure.DISK, label.message


PARENT = """
import sys, time
sys.path.insert(0, sys.argv[1])
from ase.build import bulk
from dft_interfaces.isolation.engine import IsolatedEngine
from dft_interfaces.settings import ASECalculatorSettings
engine = IsolatedEngine(ASECalculatorSettings(
    engine="ase", calculator="failing_calculators.FailingEMT", arguments={"how": sys.argv[2]}))
engine.label(bulk("Cu"))
"""


@pytest.mark.parametrize("how", ["hang", "hang_in_c"])
def test_kill_9_of_the_caller_ends_the_engine_and_its_programs(how):
    with subprocess.Popen([sys.executable, "-c", PARENT, str(CALCULATORS), how]) as parent:
        process = psutil.Process(parent.pid)
        wait_until(lambda: any(p.name() == "sleep" for p in below(process)))
        family = below(process)
        assert len(family) == 3  # guard, engine and sleep
        os.kill(parent.pid, signal.SIGKILL)
    wait_until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family))


LABELLING = """
import sys
from ase.build import bulk
from dft_interfaces.isolation.engine import IsolatedEngine
from dft_interfaces.settings import EspressoSettings
with IsolatedEngine(EspressoSettings(engine="espresso", cutoff_eV=550, kpoint_density_A=float(sys.argv[1]))) as engine:
    print(engine.label(bulk("Si")).status, flush=True)
"""


@pytest.mark.parametrize(("kpoint_density_A", "killed"), [(3, False), (60, True)])
def test_scratch_folders_of_a_real_program_go_even_after_kill_9_of_the_caller(tmp_path, kpoint_density_A, killed):
    if EspressoSettings(engine="espresso").remedy():
        pytest.skip(EspressoSettings(engine="espresso").remedy())
    command = [sys.executable, "-c", LABELLING, str(kpoint_density_A)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        if killed:
            process = psutil.Process(parent.pid)
            wait_until(lambda: any(p.name() == "pw.x" for p in below(process)))
            assert len(list(tmp_path.glob("engine-*/espresso-*"))) == 1
            os.kill(parent.pid, signal.SIGKILL)
        printed, _ = parent.communicate()
    assert printed == ("" if killed else "converged\n")
    wait_until(lambda: not list(tmp_path.glob("engine-*")))


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
