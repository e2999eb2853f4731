"""Small files in which a campaign keeps where it is: whatever became of them, they are made again with a sentence."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from damages import DAMAGES
from pymongo.errors import AutoReconnect

from al_loop.ledger import reconnect
from al_loop.ledger.reconnect import REVIVALS, Reconnector
from al_loop.report.validation import VALIDATION_NAME, validation_tables
from al_loop.stages.explore import checkpoint
from al_loop.stages.explore.checkpoint import Checkpoint
from al_loop.stages.queue_job import IN_FLIGHT, StageJob, StepJob
from al_loop.stages.queue_tasks import DONE, PROGRESS, read_result
from al_loop.tools.validation.cache import ValuesCache
from al_loop.tools.validation.quantity import Values
from dft_interfaces.files.atomic_write import write_whole
from dft_interfaces.files.sealed_json import sealed
from dft_interfaces.jobs.result_files import read_result as read_label
from dft_interfaces.jobs.result_files import result_path, write_result
from dft_interfaces.label import Label, LabelStatus
from dft_interfaces.settings import StageQueueSettings

Damage = Callable[[Path], object]
JOB = StageQueueSettings(partition="main")
CHECK: Any = SimpleNamespace(fingerprint="b" * 32)

# Root reads what it likes: an unreadable file is tried in tests/integration/test_faults_damaged.py.
each_damage = pytest.mark.parametrize(
    "damage", [DAMAGES[way] for way in DAMAGES if way not in ("unreadable", "removed")]
)


@each_damage
def test_the_state_of_an_exploration(damage: Damage, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state.npz"
    whole = Checkpoint("a" * 64, 5, (10,), ("b" * 64,), {0: ({"momenta": np.ones((2, 3))}, "{}")})
    checkpoint.save(path, whole)
    assert checkpoint.load(path) is not None
    damage(path)
    assert checkpoint.load(path) is None
    assert f"{path} cannot be read" in caplog.text
    assert "run again" in caplog.text


def test_no_bit_of_an_explorations_state_is_believed_that_changed(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    states = {0: ({"momenta": np.random.default_rng(0).normal(size=(2, 3))}, json.dumps({"step": 3}))}
    checkpoint.save(path, Checkpoint("a" * 64, 5, (10,), ("b" * 64,), states))
    whole = path.read_bytes()
    for index in range(len(whole)):
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 4]) + whole[index + 1 :])
        found = checkpoint.load(path)
        if found is not None:  # a date, for example
            assert (found.identity, found.step, found.sizes, found.digests) == ("a" * 64, 5, (10,), ("b" * 64,))
            assert np.array_equal(found.states[0][0]["momenta"], states[0][0]["momenta"])
            assert found.states[0][1] == states[0][1]


@each_damage
def test_what_is_noted_of_a_step_in_a_queue(damage: Damage, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    job, record = StageJob(tmp_path, "explore", JOB, cores=1), tmp_path / IN_FLIGHT / "explore.json"
    job._tracker().add(StepJob(name="explore", folder=tmp_path, queue_id=7))
    for name, text in ((PROGRESS, '{"done": 3}'), (DONE, sealed({"trained": True}))):
        write_whole(tmp_path / name, text)
    assert job._tracker().jobs["explore"].queue_id == 7
    assert (job._progress().done, read_result(tmp_path / DONE)) == (3, {"trained": True})
    for path in (record, tmp_path / PROGRESS, tmp_path / DONE):
        damage(path)
    assert all(found.queue_id in (None, 7) for found in job._tracker().jobs.values())
    assert job._progress().done in (0, 3)
    assert read_result(tmp_path / DONE) is None
    assert f"{tmp_path / DONE} cannot be read" in caplog.text


@each_damage
def test_the_result_of_a_calculation(damage: Damage, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    label = Label(LabelStatus.CONVERGED, "a" * 32, energy_eV=-3.5, forces_eV_per_A=np.zeros((1, 3)))
    path = write_result(tmp_path, "request", label)
    damage(path)
    assert read_label(tmp_path, "request") is None
    assert f"{path} is not used" in caplog.text
    path.unlink()
    result_path(tmp_path, "request").mkdir()
    assert read_label(tmp_path, "request") is None


@each_damage
def test_cached_values_of_a_validation(damage: Damage, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, atoms = ValuesCache(tmp_path), bulk("Cu")
    store.put("a" * 32, CHECK, atoms, Values(failure="none"))
    assert store.get("a" * 32, CHECK, atoms) == Values(failure="none")
    damage(next(tmp_path.iterdir()))
    assert store.get("a" * 32, CHECK, atoms) is None
    assert "its check is made again" in caplog.text


@each_damage
def test_a_validation_beside_a_campaign(damage: Damage, tmp_path: Path) -> None:
    path = tmp_path / VALIDATION_NAME
    path.write_text(json.dumps({"models": [{"name": "\ud800", "\ud800": 10**400}], "\ud800": {"\ud800": "\ud800"}}))
    for _ in range(2):
        for table in validation_tables(tmp_path):
            "".join([table.title, *table.columns, *(word for row in table.rows for word in row)]).encode()
        damage(path)


def test_a_database_that_dies_of_what_it_is_asked_is_not_waited_for_to_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As one whose files were damaged; a second question is not waited for at all."""
    monkeypatch.setattr(reconnect, "RETRY_S", 0.0)
    asked = 0

    def deadly() -> None:
        nonlocal asked
        asked += 1
        raise AutoReconnect("connection closed")

    waiting = Reconnector(wait_s=3600, revive=lambda: True, name="here")
    with caplog.at_level(logging.WARNING), pytest.raises(AutoReconnect):
        waiting.through(deadly)
    assert asked == 1 + REVIVALS
    with pytest.raises(AutoReconnect):
        waiting.through(deadly)
    assert asked == 2 + REVIVALS
