"""A worker process: claims label requests from the ledger and calculates them, here or through a queue.

Started by the campaign as ``python -m al_loop.label.worker NAME RESTARTS``; the configuration comes through standard
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
from al_loop.label.claims import Claims
from al_loop.ledger import open_ledger
from dft_interfaces.jobs.pyiron_labels import LabelRunner
from dft_interfaces.queue.labels import QueueRunner

logger = logging.getLogger(__name__)

IDLE_S = 0.25


def label_folder(campaign_folder: Path) -> Path:
    """Where jobs and finished results of a campaign live."""
    return campaign_folder / "dft"


def work(claims: Claims, runner: LabelRunner, labels_per_job: int, leave: threading.Event) -> None:
    """Label until told to leave.

    A calculation in this process that has begun is finished first; jobs in a queue stay there, and the next start
    finds them again.
    """
    while not leave.is_set():
        taken = claims.take(labels_per_job) if runner.room else []
        if taken:
            runner.submit({claimed.request_id: claimed.atoms for claimed in taken})
        ended = runner.collect()
        for request_id, label in ended.items():
            claims.complete(request_id, label)
        if not (taken or ended):
            leave.wait(IDLE_S)
    if len(claims):
        logger.info("left with %d requests in the queue", len(claims))


def label_runner(config: Config, name: str) -> LabelRunner:
    """Return what calculates the labels of a campaign, as its configuration says."""
    label, folder = config.label, label_folder(config.folder)
    if label.queue is None:
        return LabelRunner(folder, label.engine, name, label.limits, label.retry)
    return QueueRunner(folder, label.engine, name, label.queue, label.limits, label.retry)


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
        label_runner(config, name) as runner,
        open_ledger(config.store, config.folder, config.name) as ledger,
    ):
        # A request cannot kill a worker that only hands it to a queue.
        released = ledger.release_dead(name, count_attempt=restarts > 0 and config.label.queue is None)
        logger.info("%s is ready; %d requests of its predecessor given back", name, released)
        with Claims(ledger, name, runner.level, config.label.lease_s) as claims:
            work(claims, runner, config.label.labels_per_job, leave)


if __name__ == "__main__":
    main()
