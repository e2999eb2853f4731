"""A worker process: claims label requests from the ledger and calculates them, here or through a queue.

Started by the campaign as ``python -m al_loop.tools.workers.worker NAME RESTARTS PIPE``; the configuration comes
through standard input, so that no credential stands in the process table, and the end of standard input tells the
worker to leave.
"""

import contextlib
import fcntl
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import psutil
from pydantic import BaseModel

from al_loop.config import Config
from al_loop.config.settings import LabelSettings
from al_loop.ledger import open_ledger
from al_loop.tools.workers.leases import LabelLeases
from al_loop.tools.workers.signs_of_life import show_signs_of_life
from al_loop.utils.campaign_folder import LOGS
from al_loop.utils.processes import start_of
from dft_interfaces.isolation.processes import kill_with_all_below
from dft_interfaces.jobs.pyiron_labels import LabelRunner
from dft_interfaces.jobs.queue_labels import QueueRunner

logger = logging.getLogger(__name__)

IDLE_S = 0.25
SINGLE_THREADED = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Environment of a worker: an engine's cores are processes of one thread each."""


def work(
    claims: LabelLeases,
    runner: LabelRunner,
    labels_per_job: int,
    leave: threading.Event,
    most: int | None = None,
    idle_s: float | None = None,
) -> int:
    """Label until signalled to exit; by itself after ``most`` labels, or after ``idle_s`` without a request.

    A calculation in this process that has begun is finished first; jobs in a queue stay there, and the next start
    finds them again.
    """
    done, last = 0, time.monotonic()
    while not leave.is_set():
        wanted = labels_per_job if most is None else min(labels_per_job, most - done - len(claims))
        taken = claims.take(wanted) if runner.room and wanted > 0 else []
        if taken:
            runner.submit({claimed.request_id: claimed.atoms for claimed in taken})
        ended = runner.collect()
        for request_id, label in ended.items():
            claims.complete(request_id, label)
        done += len(ended)
        if most is not None and done >= most:
            break
        if taken or ended or len(claims):
            last = time.monotonic()
        elif idle_s is not None and time.monotonic() - last >= idle_s:
            break
        if not (taken or ended):
            leave.wait(IDLE_S)
    if len(claims):
        logger.info("exited with %d requests in the queue", len(claims))
    return done


def runner_for(label: LabelSettings, folder: Path, name: str) -> LabelRunner:
    """Return what calculates labels below a folder, here or through a queue."""
    if label.queue is None:
        return LabelRunner(folder, label.engine, name, label.limits, label.retry)
    return QueueRunner(folder, label.engine, name, label.queue, label.limits, label.retry)


def leave_at_end_of_input(leave: threading.Event) -> None:
    """Signal a worker to exit when the process that started it closes its standard input, or dies."""

    def wait() -> None:
        # Not through sys.stdin, whose lock this thread would hold while the interpreter shuts down.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        leave.set()

    threading.Thread(target=wait, daemon=True).start()


def started(module: str, *arguments: object, settings: BaseModel, **options: Any) -> subprocess.Popen[bytes]:
    """Start a worker of its own session, which Ctrl-C does not reach, and give it its settings.

    Args:
        module: its program.
        arguments: of its command line, on which no credential stands.
        settings: the line on its standard input, whose end tells it to leave.
        options: of ``subprocess.Popen``.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)], stdin=subprocess.PIPE, start_new_session=True, **options
    )
    assert process.stdin is not None  # noqa: S101 - stdin=PIPE
    with contextlib.suppress(BrokenPipeError):  # it has ended already
        process.stdin.write(settings.model_dump_json().encode() + b"\n")
        process.stdin.flush()
    return process


def close_input(process: subprocess.Popen[bytes]) -> None:
    """Tell a worker to leave."""
    with contextlib.suppress(BrokenPipeError):
        if process.stdin is not None:
            process.stdin.close()


def configure_log() -> None:
    """Log to standard error, in UTC."""
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)


@contextmanager
def _only_one(folder: Path, name: str, lease_s: float) -> Iterator[None]:
    """Wait for a worker of this name that a killed campaign left behind: it leaves after its current calculation.

    A stopped one (SIGSTOP) would never exit: it is killed after a lease, with its child processes.
    """
    with (folder / f"{name}.lock").open("a+") as lock:
        stopped_s = 0.0
        while not _locked(lock):
            time.sleep(IDLE_S)
            stopped_s = stopped_s + IDLE_S if _is_stopped(lock) else 0.0
            if stopped_s >= lease_s:
                logger.warning("the earlier worker of this name was stopped; it was killed with its child processes")
                kill_with_all_below(_holder_of(lock))
        lock.truncate(0)
        lock.write(f"{os.getpid()} {start_of(os.getpid())}")
        lock.flush()
        yield


def _locked(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder_of(lock: TextIO) -> int:
    """Number of the process that holds the lock; 0 if it has not written it or is not the same any more."""
    lock.seek(0)
    pid, _, start = lock.read().partition(" ")
    return int(pid) if pid.isdecimal() and start and start == start_of(int(pid)) else 0


def _is_stopped(lock: TextIO) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        pid = _holder_of(lock)
        return bool(pid and psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    return False


def main() -> None:
    """Entry point: ``NAME``, how often the campaign has started this worker before, and the pipe for signs of life."""
    name, restarts, pipe = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    configure_log()
    config = Config.model_validate_json(sys.stdin.buffer.readline())
    show_signs_of_life(pipe, config.label.lease_s / 8)
    leave = threading.Event()
    leave_at_end_of_input(leave)
    with (
        _only_one(config.folder / LOGS, name, config.label.lease_s),
        runner_for(config.label, config.folder / "dft", name) as runner,
        open_ledger(config.store, config.folder, config.name, wait=True) as ledger,  # it was there a moment ago
    ):
        # A request cannot kill a worker that only hands it to a queue.
        released = ledger.release_dead(name, count_attempt=restarts > 0 and config.label.queue is None)
        logger.info("%s is ready; %d requests of its predecessor given back", name, released)
        with LabelLeases(ledger, name, runner.level, config.label.lease_s) as claims:
            work(claims, runner, config.label.labels_per_job, leave)


if __name__ == "__main__":
    main()
