"""A worker that stands still: in mid-label it is replaced, at the end it is killed with all below it; that is said."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from ase.build import molecule

from al_loop.config import Config, StoreSettings
from al_loop.ledger import Ledger, open_ledger
from al_loop.records import Frame, GateCheck, Role, Verdict, VerdictKind
from al_loop.tools.workers import worker_pool
from al_loop.tools.workers.worker_pool import SilentHolders, WorkerPool, wait_for_labels
from al_loop.utils.campaign_folder import LOGS
from al_loop.utils.content_hash import frame_id
from al_loop.utils.event_log import EventLog
from dft_interfaces.engines import build_engine

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
PATIENCE_S = 60
LEASE_S = 2.0


@pytest.fixture
def asked(store: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    molecule("H2O").write(tmp_path / "water.xyz")
    (tmp_path / "run").mkdir()
    engine = {
        "engine": "ase",
        "calculator": "counting_emt.CountingEMT",
        "arguments": {"count_file": str(tmp_path / "run" / "count.txt")},
    }
    return Config.model_validate(
        {
            "name": "water",
            "folder": tmp_path / "run",
            "foundation": {"kind": "sevennet"},
            "systems": [{"file": tmp_path / "water.xyz"}],
            "explore": {"temperatures_K": [300.0]},
            "label": {"workers": 1, "lease_s": LEASE_S, "engine": engine},
            "store": store,
        }
    )


@pytest.fixture
def ledger(asked: Config) -> Iterator[Ledger]:
    """With one request of the campaign."""
    atoms = molecule("H2O")
    visit = Frame(
        frame_id(atoms), atoms, Role.EXPLORE, "w", "w/0", 0, 300.0, Verdict(VerdictKind.SUSPECT, GateCheck.NONE, "")
    )
    level = build_engine(asked.label.engine).level_of_theory.fingerprint
    with open_ledger(asked.store, asked.folder, asked.name) as opened:
        opened.replace_visits(0, [Role.EXPLORE], [visit])
        opened.request_labels(0, Role.EXPLORE, [visit], level)
        yield opened


def own_worker() -> psutil.Process:
    return next(one for one in psutil.Process().children() if "al_loop.tools.workers.worker" in one.cmdline())


def freeze(worker: psutil.Process) -> list[psutil.Process]:
    frozen = [worker, *worker.children(recursive=True)]
    assert len(frozen) > 1
    for process in frozen:
        process.suspend()
    return frozen


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def wait_until(condition: Callable[[], object], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def test_a_frozen_worker_is_killed_with_its_engine(
    asked: Config, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker_pool, "GRACE_S", 0.5)
    with WorkerPool(asked, EventLog(asked.folder / "log.jsonl")) as pool:
        pool.start()
        wait_until(lambda: not ledger.open_requests(0), asked.folder / LOGS / "worker_000.log")
        frozen = freeze(own_worker())
        begun = time.monotonic()
    assert time.monotonic() - begun < 5.0
    assert not running(frozen)
    assert "worker_000 did not exit within 0.5 s and was killed" in caplog.text


def test_an_only_worker_that_freezes_in_mid_label_is_replaced(
    asked: Config, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first calculation, far slower than a lease, is left alone until its worker is frozen."""
    monkeypatch.setenv("COUNTING_EMT_PAUSE_S", "1000")
    with WorkerPool(asked, EventLog(asked.folder / "log.jsonl")) as pool:
        pool.start()
        log = asked.folder / LOGS / "worker_000.log"
        wait_until(ledger.holders, log)
        worker, slow_until = own_worker(), time.monotonic() + 1.5 * LEASE_S
        while time.monotonic() < slow_until:
            pool.check()
            time.sleep(0.05)
        assert own_worker() == worker
        assert "no heartbeat" not in caplog.text
        monkeypatch.setenv("COUNTING_EMT_PAUSE_S", "0")
        frozen = freeze(worker)
        wait_for_labels(ledger, pool, 0)
        assert not running(frozen)
    assert f"worker_000 has sent no heartbeat for {LEASE_S:g} s" in caplog.text
    assert len((asked.folder / "count.txt").read_text().split()) == 1
    assert [frame.converged for frame in ledger.labelled([Role.EXPLORE])] == [True]


def test_a_frozen_worker_of_a_killed_campaign_does_not_block_the_next_one(asked: Config, ledger: Ledger) -> None:
    first = WorkerPool(asked, EventLog(asked.folder / "log.jsonl"))
    with first:
        first.start()
        log = asked.folder / LOGS / "worker_000.log"
        wait_until(lambda: not ledger.open_requests(0), log)
        worker = own_worker()
        frozen = freeze(worker)
        with WorkerPool(asked, EventLog(asked.folder / "log.jsonl")) as second:
            second.start()
            wait_until(lambda: log.read_text().count("is ready") == 2, log)
            assert not running(frozen)
    assert "was stopped; it was killed" in log.read_text()


def test_a_silent_worker_elsewhere_is_named(asked: Config, ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    claimed = ledger.claim("on_cluster_1", build_engine(asked.label.engine).level_of_theory.fingerprint, LEASE_S)
    assert claimed is not None
    watching = SilentHolders(ledger, LEASE_S, own=lambda name: name.startswith("worker_"))
    wait_until(lambda: watching.look() or caplog.text, asked.folder)
    assert caplog.text.count("worker on_cluster_1, which this campaign did not start, holds 1 request and") == 1
