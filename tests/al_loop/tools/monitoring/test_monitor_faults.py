"""What goes wrong around a production run ends neither the run nor what is already written."""

import json
import resource

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.io import read
from ase.md.verlet import VelocityVerlet
from ase.units import fs
from event_lines import read_events

from al_loop.errors import InputError
from al_loop.tools.monitoring.alarms import MonitorStop
from al_loop.tools.monitoring.monitor import ReliabilityMonitor
from al_loop.utils.event_log import EventLog


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def doubted(make_copper):
    """A dynamics that a monitor doubts from the start."""
    atoms = make_copper(amplitude_A=0.35)
    atoms.calc = EMT()
    return VelocityVerlet(atoms, 2 * fs)


@pytest.fixture
def largest_file():
    """Sets the size at which the disk is full for a file; undone afterwards."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_loses_whole_frames_and_lines_only(potential, doubted, tmp_path, largest_file, caplog) -> None:
    monitor = ReliabilityMonitor.load(potential, doubted, on_alarm=("snapshot",))
    monitor()
    first = (tmp_path / "monitor-alarms.extxyz").read_bytes()
    written = (tmp_path / "monitor.jsonl").stat().st_size
    largest_file(max(len(first), written) + 100)
    monitor()
    assert (tmp_path / "monitor-alarms.extxyz").read_bytes() == first
    assert "could not be stored" in caplog.text
    assert monitor.stored == 1
    largest_file(resource.RLIM_INFINITY)
    for _ in range(2):
        monitor()
    summary = monitor.close()
    assert (summary["checks"], summary["stored"]) == (4, 2)
    assert len(read(tmp_path / "monitor-alarms.extxyz", ":")) == 2
    events = read_events(tmp_path / "monitor.jsonl")
    assert [event["event"] for event in events][-3:] == ["check", "check", "summary"]


def test_a_stop_on_a_full_disk_is_still_a_stop(potential, doubted, largest_file) -> None:
    monitor = ReliabilityMonitor.load(potential, doubted, on_alarm=("stop",), log=None)
    largest_file(100)
    with pytest.raises(MonitorStop, match="The frame could not be saved"):
        monitor()


def test_a_line_that_was_cut_takes_no_other_with_it(tmp_path, largest_file) -> None:
    log = EventLog(tmp_path / "log.jsonl")
    log.write("one")
    largest_file((tmp_path / "log.jsonl").stat().st_size + 20)
    log.write("two")
    largest_file(resource.RLIM_INFINITY)
    log.write("three")
    assert [event["event"] for event in read_events(tmp_path / "log.jsonl")] == ["one", "three"]


def test_what_a_program_left_in_the_atoms_does_not_end_the_run(potential, doubted, tmp_path) -> None:
    atoms = doubted.atoms
    atoms.info |= {"history": object(), ("a", 1): 2, "nested": {"a": [1]}, "name": 'he said "no"\n', "energy": 3.0}
    atoms.set_array("notes", np.array([{} for _ in atoms], dtype=object))
    monitor = ReliabilityMonitor.load(potential, doubted, log=None)
    monitor()
    frame = read(tmp_path / "monitor-alarms.extxyz")
    (expected,) = potential.predict([atoms], "exact")
    assert frame.get_potential_energy() == pytest.approx(expected.energy)
    np.testing.assert_allclose(frame.get_forces(), expected.forces, atol=1e-6)
    assert "notes" not in frame.arrays


def test_a_ledger_that_is_away_ends_no_run(potential, doubted, tmp_path, caplog) -> None:
    (tmp_path / "campaign").mkdir()
    monitor = ReliabilityMonitor.load(potential, doubted, log=None, on_alarm=("stop",), harvest=tmp_path / "campaign")
    with pytest.raises(MonitorStop):
        monitor()
    assert "holds no campaign" in caplog.text
    assert "1 frames were not added" in caplog.text
    assert (monitor.stored, monitor.as_dict()["handed_over"]) == (1, 0)


def test_a_campaign_that_is_none_is_refused_before_the_run(potential, doubted, tmp_path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml does not exist"):
        ReliabilityMonitor.load(potential, doubted, log=None, harvest=tmp_path / "nowhere.yaml")
    (tmp_path / "wrong.yaml").write_text("name: wrong\n")
    with pytest.raises(InputError, match=r"wrong\.yaml"):
        ReliabilityMonitor.load(potential, doubted, log=None, harvest=tmp_path / "wrong.yaml")


@pytest.mark.parametrize("end", [KeyboardInterrupt, MonitorStop, None])
def test_however_a_run_ends_the_log_ends_with_one_summary(potential, doubted, tmp_path, end) -> None:
    def interrupt():
        if doubted.nsteps == 2 and end is KeyboardInterrupt:
            raise KeyboardInterrupt

    monitor = ReliabilityMonitor.load(potential, doubted, on_alarm=("stop",) if end is MonitorStop else (), patience=2)
    doubted.attach(monitor)
    doubted.attach(interrupt)
    try:
        with monitor:
            doubted.run(2)
    except (KeyboardInterrupt, MonitorStop) as error:
        assert type(error) is end  # noqa: PT017 - None of the three ways may be another
    events = read_events(tmp_path / "monitor.jsonl")
    assert [event["event"] for event in events].count("summary") == 1
    assert events[-1]["event"] == "summary"
    assert events[-1]["checks"] == monitor.summary.checks >= 1


def test_a_long_run_is_summed_up_along_the_way(potential, doubted, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("al_loop.tools.monitoring.monitor.SUMMARY_EVERY", 2)
    monitor = ReliabilityMonitor.load(potential, doubted, on_alarm=())
    for _ in range(5):
        monitor()
    lines = [json.loads(line) for line in (tmp_path / "monitor.jsonl").read_text().splitlines()]
    assert [line["checks"] for line in lines if line["event"] == "summary"] == [2, 4]
