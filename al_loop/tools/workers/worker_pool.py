"""Worker processes on this machine, and waiting for their labels."""

import logging
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from al_loop.config import Config
from al_loop.errors import CampaignError
from al_loop.ledger import Ledger
from al_loop.ledger.expired_leases import ExpiredLeases
from al_loop.ledger.records import Holder
from al_loop.ledger.store import shared_server
from al_loop.records import LabelledFrame, Role
from al_loop.stages.label.resources import fitting_workers, machine_cores
from al_loop.tools.workers.signs_of_life import SignsOfLife
from al_loop.tools.workers.worker import SINGLE_THREADED, close_input, started
from al_loop.utils.campaign_folder import LOGS
from al_loop.utils.event_log import EventLog
from dft_interfaces.isolation.processes import below, kill_late, kill_with_all_below
from dft_interfaces.output_tail import file_tail
from dft_interfaces.queue.command import without_credentials

POLL_S = 0.25
RESTARTS = 3  # of each worker, before its failure ends the campaign
GRACE_S = 10.0
LOG_LINES = 12

_logger = logging.getLogger("al_loop")


class WorkerPool:
    """The campaign's worker processes; started once, by the first stage that has labels made or will ask for some.

    Args:
        config: the campaign, with an absolute folder.
        log: notes that fewer workers are started than configured.
    """

    def __init__(self, config: Config, log: EventLog) -> None:
        self._config = config
        self._log_events = log
        self._logs = config.folder / LOGS
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._starts: dict[str, int] = {}
        self._signs = SignsOfLife(config.label.lease_s)

    def __enter__(self) -> "WorkerPool":
        self._logs.mkdir(exist_ok=True)
        return self

    @property
    def lease_s(self) -> float:
        """Time without a heartbeat, s, after which a worker counts as hanging."""
        return self._config.label.lease_s

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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for process in self._workers.values():
            close_input(process)
        deadline = time.monotonic() + (GRACE_S if kind is None else 0.5)
        late = [name for name, process in self._workers.items() if not _ended(process, deadline)]
        started = [process for name in late for process in below(self._workers[name].pid)]
        for name in late:
            self._workers[name].terminate()
        deadline = time.monotonic() + GRACE_S
        for name in late:
            if not _ended(self._workers[name], deadline):
                self._kill(name)
                _logger.warning(
                    "%s did not exit within %g s and was killed with its child processes; a request "
                    "it held goes to another worker, or to the next start.",
                    name,
                    GRACE_S,
                )
        kill_late(started, deadline)
        for name in self._workers:
            self._signs.forget(name)

    def check(self) -> None:
        """Restart a worker that died, or kill and restart one without a heartbeat.

        Raises:
            CampaignError: it died too often; the message holds the last lines of its log.
        """
        for name in self._signs.silent():
            if self._workers[name].poll() is None:
                _logger.warning(
                    "%s has sent no heartbeat for %g s (label.lease_s): it was killed with its child processes and "
                    "is replaced; its calculation is repeated.",
                    name,
                    self._config.label.lease_s,
                )
                self._log_events.write("worker stood still", worker=name, lease_s=self._config.label.lease_s)
                self._kill(name)
        for name, process in list(self._workers.items()):
            code = process.poll()
            if code is None:
                continue
            close_input(process)
            if self._starts[name] > RESTARTS:
                raise CampaignError(
                    f"{name} ended {self._starts[name]} times (exit code {code}). Its last lines:\n"
                    f"{file_tail(self._log(name), LOG_LINES)}\nFix the cause and run the same command again; nothing "
                    "is lost."
                )
            self._start(name)

    def started(self, name: str) -> bool:
        """Whether a worker of this name is one of these."""
        return any(name == own or name.startswith(f"{own}-") for own in self._workers)

    def _kill(self, name: str) -> None:
        kill_with_all_below(self._workers[name].pid)
        self._workers[name].wait()

    def _start(self, name: str) -> None:
        signs = self._signs.expect(name)
        restarts = self._starts.get(name, 0)
        store = self._config.store.model_copy(update={"uri": shared_server(self._config.store), "uri_file": None})
        config = self._config.model_copy(update={"store": store})
        environment = {**without_credentials(), **SINGLE_THREADED}
        try:
            with self._log(name).open("ab") as log:
                self._workers[name] = started(
                    "al_loop.tools.workers.worker",
                    *(name, restarts, signs),
                    settings=config,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    pass_fds=[signs],
                )
        finally:
            os.close(signs)
        self._starts[name] = restarts + 1

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"


class SilentHolders:
    """Log workers that this campaign did not start and that send no heartbeat."""

    def __init__(self, ledger: Ledger, lease_s: float, own: Callable[[str], bool]) -> None:
        self._ledger = ledger
        self._lease_s = lease_s
        self._own = own
        self._silence: ExpiredLeases[Holder] = ExpiredLeases(lease_s)
        self._look_at = time.monotonic()
        self._named: set[str] = set()

    def look(self) -> None:
        """Check the ledger a few times in each lease."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + self._lease_s / 8
        holders = {h: h.worker.rpartition("/")[2] for h in self._ledger.holders()}
        silent = self._silence.after([holder for holder, name in holders.items() if not self._own(name)])
        for name, held in Counter(holders[holder] for holder in silent).items():
            if name not in self._named:
                self._named.add(name)
                _logger.warning(
                    "worker %s, which this campaign did not start, holds %d request%s and has sent no heartbeat "
                    "for %g s (label.lease_s). A free worker takes over; if there is none, kill it on its "
                    "machine and start `al-loop worker` again, there or elsewhere.",
                    name,
                    held,
                    "" if held == 1 else "s",
                    self._lease_s,
                )
        self._named &= set(holders.values())


def wait_for_labels(
    ledger: Ledger,
    pool: WorkerPool,
    round_: int,
    advance: Callable[[int], object] = lambda _: None,
    quorum: float = 1.0,
) -> None:
    """Return once every request of a round is finished, labelled or failed, or a share of them.

    Args:
        ledger: where the requests are.
        pool: the workers, started again if they die.
        round_: the round.
        advance: called with the number of requests that have ended since the last call.
        quorum: the share that is enough, of the requests in each role.
    """
    waiting, elsewhere = ledger.open_by_role(round_), SilentHolders(ledger, pool.lease_s, pool.started)
    while any(still_open > (1 - quorum) * requested for still_open, requested in waiting.values()):
        try:
            pool.check()
        except CampaignError:
            ledger.check_writable()  # a database that takes no writes ends all workers, and is what is wrong then
            raise
        elsewhere.look()
        time.sleep(POLL_S)
        before, waiting = _open(waiting), ledger.open_by_role(round_)
        if _open(waiting) != before:
            advance(before - _open(waiting))


def wait_for_a_cost(ledger: Ledger, pool: WorkerPool, rounds: Collection[int]) -> tuple[list[LabelledFrame], int]:
    """Return finished labels and the number in progress, once one of them shows the cost of a label."""
    while True:
        ended, calculating = ledger.ended_and_open(rounds)
        if not calculating or any(frame.label.cost_s > 0 for frame in ended):
            return ended, calculating
        pool.check()
        time.sleep(POLL_S)


def _ended(process: subprocess.Popen[bytes], deadline: float) -> bool:
    try:
        process.wait(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _open(by_role: Mapping[Role, tuple[int, int]]) -> int:
    return sum(still_open for still_open, _ in by_role.values())
