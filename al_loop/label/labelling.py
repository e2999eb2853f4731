"""LABEL: worker processes on this machine, and waiting for what they were asked for."""

import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import psutil

from al_loop.config import Config
from al_loop.config.settings import LabelSettings
from al_loop.errors import CampaignError, InputError
from al_loop.folder import LOGS
from al_loop.ledger import Ledger
from al_loop.ledger.store import shared_server
from al_loop.logfile import EventLog
from al_loop.records import Role
from dft_interfaces.errors import QueueError
from dft_interfaces.queue.limits import excesses, job_cores
from dft_interfaces.queue.slurm import partition_limits
from dft_interfaces.settings import JobSettings

POLL_S = 0.25
RESTARTS = 3  # of each worker, before its failure ends the campaign
GRACE_S = 10.0

_logger = logging.getLogger("al_loop")


def without_database(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the ledger's URI: what workers start, jobs of a queue above all, inherits it."""
    return {name: value for name, value in environment.items() if name != "MONGODB_URI"}


def machine_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fitting_workers(label: LabelSettings) -> int:
    """Return how many workers are started: their calculations never ask for more cores than there are.

    With a queue there is one, which hands everything over. With ``workers: 0`` there are none: others label elsewhere.
    """
    if label.workers == 0:
        return 0
    if label.queue is not None:
        return 1
    return max(1, min(label.workers, machine_cores() // label.engine.cores))


def check_resources(label: LabelSettings) -> None:
    """Make sure that this machine, or the queue, can give a calculation what the configuration asks for.

    Raises:
        InputError: it cannot, or the queue does not answer.
    """
    if label.workers == 0:
        return
    if label.queue is None:
        if label.engine.cores > machine_cores():
            raise InputError(
                f"label.engine.cores: received {label.engine.cores}, but this machine gives {machine_cores()}; lower "
                "it, or calculate through label.queue"
            )
        return
    check_partition("label.queue", label.queue, job_cores(label.queue, label.engine))


def check_stage_queues(config: Config) -> None:
    """Make sure that the queues of exploration and training can give what the configuration asks for.

    Raises:
        InputError: they cannot, or do not answer.
    """
    for name, queue in (("explore.queue", config.explore.queue), ("train.queue", config.train.queue)):
        if queue is not None:
            check_partition(name, queue, queue.cores or config.threads)


def check_partition(dotted: str, queue: JobSettings, cores: int) -> None:
    """Compare a job with the limits of its partition; another queue's were compared with its folder.

    Raises:
        InputError: it asks for more, or the queue does not answer.
    """
    if queue.partition is None:
        return
    try:
        allowed = partition_limits(queue.partition)
    except QueueError as error:
        raise InputError(f"{dotted}: {error}") from error
    beyond = [f"{dotted}.{sentence}" for sentence in excesses(queue, cores, allowed)]
    if beyond:
        raise InputError("\n".join(beyond))


class WorkerPool:
    """The campaign's worker processes; started once, by the first stage that has labels made or will ask for some.

    Args:
        config: the campaign, with an absolute folder.
        log: where it says that it starts fewer workers than were asked for.
    """

    def __init__(self, config: Config, log: EventLog) -> None:
        self._config = config
        self._log_events = log
        self._logs = config.folder / LOGS
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._starts: dict[str, int] = {}

    def __enter__(self) -> "WorkerPool":
        self._logs.mkdir(exist_ok=True)
        return self

    def start(self) -> None:
        """Start the workers, unless they were started before; they are idle while there is nothing to label."""
        if self._starts:
            return
        label, count = self._config.label, fitting_workers(self._config.label)
        if label.queue is None and count < label.workers:
            self._log_events.write(
                "fewer workers", asked=label.workers, started=count, cores=label.engine.cores, machine=machine_cores()
            )
        for number in range(count):
            self._start(f"worker_{number:03d}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._workers.values():
            if process.stdin is not None:
                process.stdin.close()
        deadline = time.monotonic() + (GRACE_S if kind is None else 0.5)
        late = [name for name, process in self._workers.items() if not _ended(process, deadline)]
        for name in late:
            self._workers[name].terminate()
        deadline = time.monotonic() + GRACE_S
        for name in late:
            if not _ended(self._workers[name], deadline):
                _kill_with_all_below(self._workers[name])
                _logger.warning(
                    "%s did not end within %g s of being asked to and was killed, with what it had started; a request "
                    "it held goes to another worker, or to the next start.",
                    name,
                    GRACE_S,
                )

    def check(self) -> None:
        """Start a worker that died again.

        Raises:
            CampaignError: it died too often; the message holds the last lines of its log.
        """
        for name, process in list(self._workers.items()):
            code = process.poll()
            if code is None:
                continue
            if process.stdin is not None:
                process.stdin.close()
            if self._starts[name] > RESTARTS:
                raise CampaignError(
                    f"{name} ended {self._starts[name]} times (exit code {code}). Its last lines:\n"
                    f"{_tail(self._log(name))}\nMend the cause and run the same command again; nothing is lost."
                )
            self._start(name)

    def _start(self, name: str) -> None:
        # An engine's cores are processes of one thread each; the campaign's own environment is inherited otherwise.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        with self._log(name).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "al_loop.label.worker", name, str(self._starts.get(name, 0))],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**without_database(os.environ), **threads},
                start_new_session=True,  # Ctrl-C reaches the campaign alone, which then ends its workers
            )
        assert process.stdin is not None  # noqa: S101 - stdin=PIPE
        store = self._config.store.model_copy(update={"uri": shared_server(self._config.store), "uri_file": None})
        config = self._config.model_copy(update={"store": store})
        process.stdin.write(config.model_dump_json().encode() + b"\n")
        process.stdin.flush()
        self._workers[name] = process
        self._starts[name] = self._starts.get(name, 0) + 1

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"


def wait_for_labels(
    ledger: Ledger,
    pool: WorkerPool,
    round_: int,
    advance: Callable[[int], object] = lambda _: None,
    quorum: float = 1.0,
) -> None:
    """Return once every request of a round has ended, labelled or failed, or a share of them.

    Args:
        ledger: where the requests are.
        pool: the workers, started again if they die.
        round_: the round.
        advance: called with the number of requests that have ended since the last call.
        quorum: the share that is enough, of the requests in each role.
    """
    waiting = ledger.open_by_role(round_)
    while any(still_open > (1 - quorum) * asked for still_open, asked in waiting.values()):
        try:
            pool.check()
        except CampaignError:
            ledger.check_writable()  # a database that takes no writes ends all workers, and is what is wrong then
            raise
        time.sleep(POLL_S)
        before, waiting = _open(waiting), ledger.open_by_role(round_)
        if _open(waiting) != before:
            advance(before - _open(waiting))


def _ended(process: subprocess.Popen[bytes], deadline: float) -> bool:
    try:
        process.wait(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill_with_all_below(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker and the programs below it, which may be frozen as well and would outlive it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for below in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                below.kill()
    process.kill()
    process.wait()


def _open(by_role: Mapping[Role, tuple[int, int]]) -> int:
    return sum(still_open for still_open, _ in by_role.values())


def _tail(path: Path, lines: int = 12) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
