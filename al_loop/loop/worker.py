"""A worker process: claims label requests from the ledger and calculates them, one at a time.

Started by the campaign as ``python -m al_loop.loop.worker NAME RESTARTS``; the configuration comes through standard
input, so that no credential stands in the process table, and the end of standard input tells the worker to leave.
"""

import fcntl
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from al_loop.config import Config
from al_loop.folder import LOGS
from al_loop.ledger import Ledger, open_ledger
from al_loop.ledger.records import ClaimedRequest
from dft_interfaces.engines import build_engine
from dft_interfaces.pyiron_labels import LabelRunner

logger = logging.getLogger(__name__)

IDLE_S = 0.25


def label_folder(campaign_folder: Path) -> Path:
    """Where jobs and finished results of a campaign live."""
    return campaign_folder / "dft"


def work(ledger: Ledger, runner: LabelRunner, level: str, name: str, lease_s: float, leave: threading.Event) -> None:
    """Label until told to leave; a calculation that has begun is finished first."""
    while not leave.is_set():
        claimed = ledger.claim(name, level, lease_s)
        if claimed is None:
            leave.wait(IDLE_S)
            continue
        logger.info("claimed %s", claimed.request_id)
        with _heartbeat(ledger, claimed, lease_s):
            label = runner.run(claimed.request_id, claimed.atoms)
        kept = ledger.complete(claimed, label)
        logger.info("%s is %s%s", claimed.request_id, label.status, "" if kept else ", but the lease was lost")


@contextmanager
def _heartbeat(ledger: Ledger, claimed: ClaimedRequest, lease_s: float) -> Iterator[None]:
    """Keep the lease alive while a calculation runs."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(lease_s / 4):
            try:
                ledger.heartbeat(claimed, lease_s)
            except Exception:  # a database that is away for a moment must not end a calculation
                logger.exception("heartbeat failed")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _leave_at_end_of_input(leave: threading.Event) -> None:
    sys.stdin.buffer.read()
    leave.set()


@contextmanager
def _only_one(folder: Path, name: str) -> Iterator[None]:
    """Wait for a worker of this name that a killed campaign left behind: it leaves after its current calculation."""
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Entry point of the process: ``NAME`` and how often the running campaign has started this worker before."""
    name, restarts = sys.argv[1], int(sys.argv[2])
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    config = Config.model_validate_json(sys.stdin.buffer.readline())
    leave = threading.Event()
    threading.Thread(target=_leave_at_end_of_input, args=(leave,), daemon=True).start()
    with (
        _only_one(config.folder / LOGS, name),
        LabelRunner(label_folder(config.folder), config.label.engine, name) as runner,
        open_ledger(config.store, config.folder, config.name) as ledger,
    ):
        released = ledger.release_dead(name, count_attempt=restarts > 0)
        logger.info("%s is ready; %d requests of its predecessor given back", name, released)
        level = build_engine(config.label.engine).level_of_theory.fingerprint
        work(ledger, runner, level, name, config.label.lease_s, leave)


if __name__ == "__main__":
    main()
