"""Labels through real pyiron_base jobs, each worker in a process of its own."""

import shutil
import sqlite3
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from label_workers import EMT, PATIENCE_S, Workers, structure

from dft_interfaces.engines import build_engine
from dft_interfaces.errors import DFTInterfaceError
from dft_interfaces.files.atoms_json import atoms_as_dict
from dft_interfaces.jobs.label_batch import LabelBatch
from dft_interfaces.jobs.pyiron_labels import LabelRunner
from dft_interfaces.jobs.result_files import finished_label, result_path, write_result
from dft_interfaces.label import Label, LabelStatus
from dft_interfaces.settings import PySCFSettings


@pytest.fixture
def workers(tmp_path):
    return Workers(tmp_path)


def test_a_label_is_that_of_the_engine_and_everything_lies_in_its_folder(workers):
    (label,) = workers.run("Cu-1", settings=EMT)
    expected = build_engine(EMT).label(structure("Cu-1"))
    assert label.energy_eV == expected.energy_eV
    assert np.array_equal(label.forces_eV_per_A, expected.forces_eV_per_A)
    assert np.array_equal(label.stress_eV_per_A3, expected.stress_eV_per_A3)
    assert workers.jobs() == ["finished"]
    assert list(workers.home.iterdir()) == list(workers.current.iterdir()) == []
    assert finished_label(workers.folder, "Cu-1").energy_eV == label.energy_eV


def test_a_finished_label_is_never_calculated_again(workers):
    settings = workers.counting()
    first = workers.run("Cu-1", "Cu-2", "Cu-1", settings=settings)
    assert first[0].energy_eV == first[2].energy_eV != first[1].energy_eV
    again = workers.run("Cu-1", settings=settings)
    elsewhere = workers.run("Cu-1", settings=settings, worker="another")
    assert {first[0].cost_s, again[0].cost_s, elsewhere[0].cost_s} == {first[0].cost_s}
    assert workers.calculations() == 2


def test_kill_in_the_middle_and_the_same_call_again(workers):
    settings = workers.counting(pause_s=2.0)
    workers.kill_while_running("Cu-1", settings=settings)
    assert finished_label(workers.folder, "Cu-1") is None
    assert workers.calculations() == 0
    (label,) = workers.run("Cu-1", settings=settings)
    assert label.status is LabelStatus.CONVERGED
    assert workers.calculations() == 1
    assert workers.jobs() == ["finished"]


def test_what_a_crash_may_leave_behind(workers):
    settings = workers.counting()
    (label,) = workers.run("Cu-1", settings=settings)
    home = workers.folder / "workers" / "worker"

    # Killed between the result file and pyiron's own bookkeeping.
    with sqlite3.connect(home / "jobs.db") as database:
        database.execute("update jobs_pyiron set status = 'running'")
    assert workers.run("Cu-1", settings=settings)[0].cost_s == label.cost_s
    assert workers.calculations() == 1

    # Only damaged files are left of the result and of the job that claims to be finished.
    with sqlite3.connect(home / "jobs.db") as database:
        database.execute("update jobs_pyiron set status = 'finished'")
    for path in [result_path(workers.folder, "Cu-1"), *home.glob("jobs/*.h5")]:
        path.write_bytes(path.read_bytes()[:100])
    assert workers.run("Cu-1", settings=settings)[0].energy_eV == label.energy_eV
    assert workers.calculations() == 2
    assert workers.jobs() == ["finished"]


def test_a_job_that_dies_half_way_loses_only_the_rest(workers):
    settings = workers.counting(pause_s=1.0)
    process = workers.start("Cu-1+Cu-2+Cu-3", settings=settings)
    while finished_label(workers.folder, "Cu-1") is None:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.kill()
    process.communicate()
    first = finished_label(workers.folder, "Cu-1")
    labels = dict(workers.finished(workers.start("Cu-1+Cu-2+Cu-3", settings=settings)))
    assert labels["Cu-1"].cost_s == first.cost_s
    assert {label.status for label in labels.values()} == {LabelStatus.CONVERGED}
    assert workers.calculations() == 3


def test_empty_dictionaries_and_lists_come_back_from_pyiron_as_they_were(workers):
    workers.run("Cu-1", settings=EMT)
    (path,) = workers.folder.glob("workers/worker/jobs/*.h5")
    program = (
        "import sys; from pathlib import Path; from dft_interfaces.jobs.pyiron_project import WorkerProject; "
        "print(WorkerProject(Path(sys.argv[1]), 'worker').load(sys.argv[2]).input.batch)"
    )
    words = [sys.executable, "-c", program, str(workers.folder / "workers"), path.stem]
    shown = subprocess.run(words, capture_output=True, text=True, check=True, cwd=workers.current)
    batch = LabelBatch.model_validate_json(shown.stdout.splitlines()[-1])
    assert batch.engine == EMT
    assert batch.engine.arguments == {}
    assert batch.requests == {"Cu-1": atoms_as_dict(structure("Cu-1"))}


def test_a_job_table_that_is_lost_costs_no_label(workers):
    process = workers.start("Cu-1", "Cu-2", settings=workers.counting(pause_s=2.0))
    while workers.jobs() != ["running"]:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    shutil.rmtree(workers.folder / "workers" / "worker")
    labels = workers.finish(process)
    assert [label.status for label in labels] == [LabelStatus.CONVERGED] * 2
    assert workers.calculations() == 2
    assert finished_label(workers.folder, "Cu-2").energy_eV == labels[1].energy_eV


def test_a_failure_is_a_label_with_its_traceback_and_may_be_tried_again(workers):
    labels = workers.run("Si-1", "Cu-1", "Si-1", settings=EMT)
    assert [label.status for label in labels] == [LabelStatus.FAILED, LabelStatus.CONVERGED, LabelStatus.FAILED]
    assert "Traceback" in labels[0].message
    assert "No EMT-potential for Si" in labels[0].message
    assert finished_label(workers.folder, "Si-1") is None
    assert sorted(workers.jobs()) == ["aborted", "finished"]


def test_an_unconverged_calculation_is_finished_and_says_so(workers):
    settings = PySCFSettings(engine="pyscf", max_cycles=2)
    first, second = workers.run("water-1", "water-1", settings=settings)
    assert first.status is LabelStatus.UNCONVERGED
    assert "cycle= 2 E= " in first.message
    assert first.cost_s == second.cost_s
    assert workers.jobs() == ["not_converged"]


def test_four_workers_at_once_two_of_them_on_the_same_requests(workers):
    requests = {name: [f"Cu-{10 * number + i}" for i in range(6)] for number, name in enumerate(("a", "b", "c"))}
    requests["d"] = requests["c"]
    processes = {name: workers.start(*ids, settings=EMT, worker=name) for name, ids in requests.items()}
    labels = {name: workers.finish(process) for name, process in processes.items()}
    engine = build_engine(EMT)
    for name, ids in requests.items():
        assert [label.energy_eV for label in labels[name]] == [engine.label(structure(i)).energy_eV for i in ids]
    assert len(list((workers.folder / "results").iterdir())) == 18


def test_a_worker_name_belongs_to_one_process(workers):
    first = workers.start("Cu-1", settings=workers.counting(pause_s=3.0))
    while workers.jobs() != ["running"]:
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.05)
    second = workers.start("Cu-2", settings=workers.counting(pause_s=3.0))
    errors = second.communicate(timeout=PATIENCE_S)[1]
    assert second.returncode != 0
    assert "the worker name worker is in use" in errors
    assert workers.finish(first)[0].status is LabelStatus.CONVERGED


def test_a_result_of_another_level_is_neither_used_nor_overwritten(workers):
    foreign = Label(LabelStatus.CONVERGED, "0" * 16, energy_eV=1.0, forces_eV_per_A=np.zeros((4, 3)))
    write_result(workers.folder, "Cu-1", foreign)
    process = workers.start("Cu-1", settings=EMT)
    assert "does not belong to this structure" in process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode != 0
    assert finished_label(workers.folder, "Cu-1").energy_eV == 1.0


def test_only_the_main_thread_may_run_labels(tmp_path):
    errors = []

    def start():
        try:
            LabelRunner(tmp_path, EMT, "worker")
        except DFTInterfaceError as error:
            errors.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in errors[0]
    assert list(tmp_path.iterdir()) == []


def test_folders_as_users_name_them(workers):
    workers.folder = workers.folder / "my campaign, Å: 日本 ~ $HOME %d"
    (label,) = workers.run("Cu-1", settings=EMT)
    assert label.energy_eV == build_engine(EMT).label(structure("Cu-1")).energy_eV
    assert workers.jobs() == ["finished"]
    assert list(workers.home.iterdir()) == list(workers.current.iterdir()) == []


def test_a_folder_that_is_too_deep_for_a_job_table(tmp_path):
    with pytest.raises(DFTInterfaceError, match="too long for a job table"):
        LabelRunner(tmp_path / "/".join(["x" * 200] * 3), EMT, "worker")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "../up", "worker 1", "1st"])
def test_worker_names_that_are_no_folder_names(name, tmp_path):
    with pytest.raises(DFTInterfaceError, match="worker name"):
        LabelRunner(tmp_path, EMT, name)
