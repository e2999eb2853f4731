"""A worker that stands still when its campaign has finished: it is killed with all below it, and that is said."""

import time
from pathlib import Path

import psutil
import pytest
from ase.build import molecule

from al_loop.config import Config, StoreSettings
from al_loop.folder import LOGS
from al_loop.ids import frame_id
from al_loop.label import labelling
from al_loop.label.labelling import WorkerPool
from al_loop.ledger import open_ledger
from al_loop.logfile import EventLog
from al_loop.records import Lane, Role, Verdict, VerdictKind, Visit
from dft_interfaces.engines import build_engine

PATIENCE_S = 60


@pytest.fixture
def asked(store: StoreSettings, tmp_path: Path) -> Config:
    molecule("H2O").write(tmp_path / "water.xyz")
    (tmp_path / "run").mkdir()
    return Config.model_validate(
        {
            "name": "water",
            "folder": tmp_path / "run",
            "foundation": {"kind": "sevennet"},
            "systems": [{"file": tmp_path / "water.xyz"}],
            "explore": {"temperatures_K": [300.0]},
            "label": {"workers": 1, "engine": {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}},
            "store": store,
        }
    )


def test_a_frozen_worker_is_killed_with_its_engine(
    asked: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(labelling, "GRACE_S", 0.5)
    atoms = molecule("H2O")
    visit = Visit(
        frame_id(atoms), atoms, Role.EXPLORE, "w", "w/0", 0, 300.0, Verdict(VerdictKind.SUSPECT, Lane.NONE, "")
    )
    level = build_engine(asked.label.engine).level_of_theory.fingerprint
    with open_ledger(asked.store, asked.folder, asked.name) as ledger:
        ledger.replace_visits(0, [Role.EXPLORE], [visit])
        ledger.request_labels(0, Role.EXPLORE, [visit], level)
        with WorkerPool(asked, EventLog(asked.folder / "log.jsonl")) as pool:
            pool.start()
            deadline = time.monotonic() + PATIENCE_S
            while ledger.open_requests(0):
                assert time.monotonic() < deadline, (asked.folder / LOGS / "worker_000.log").read_text()
                time.sleep(0.05)
            worker = next(one for one in psutil.Process().children() if "al_loop.label.worker" in one.cmdline())
            frozen = [worker, *worker.children(recursive=True)]
            assert len(frozen) > 1
            for process in frozen:
                process.suspend()
            begun = time.monotonic()
    assert time.monotonic() - begun < 5.0
    assert not [process for process in frozen if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert "worker_000 did not end within 0.5 s of being asked to and was killed" in caplog.text
