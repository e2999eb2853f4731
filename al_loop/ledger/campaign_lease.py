"""One process runs a campaign, wherever copies of its folder lie: a lease in the ledger, and where it went on last.

As with workers, no wall clock decides who is alive. A holder on this machine is looked up among its processes; one on
another machine has gone when it has shown no sign of life for the length of a lease, as this process has seen it.
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pymongo.errors import PyMongoError

from al_loop.errors import CampaignError, InputError
from al_loop.ledger import Ledger
from al_loop.ledger.expired_leases import ExpiredLeases
from al_loop.ledger.identity import Identity, read_identity, write_identity
from al_loop.ledger.records import Holder, Runner
from al_loop.utils.processes import exists, machine, start_of

LEASE_S: Final = 60.0
_BEATS: Final = 4  # in the length of a lease
_LOOKS: Final = 60

_logger = logging.getLogger("al_loop")
_held: set[str] = set()  # tokens of this process's own leases


class Lease:
    """The right to run a campaign, renewed in a thread.

    Args:
        ledger: of the campaign.
        token: of this start.
        lease_s: after how long without a sign of life another process may take over.
    """

    def __init__(self, ledger: Ledger, token: str, lease_s: float) -> None:
        self._ledger = ledger
        self._token = token
        self._lease_s = lease_s
        self._lost = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def start(self) -> None:
        """Begin to renew it."""
        _held.add(self._token)
        self._thread.start()

    def stop(self) -> None:
        """Give it back, if the database answers."""
        self._done.set()
        self._thread.join(self._lease_s)
        _held.discard(self._token)
        with suppress(PyMongoError):  # the next start finds that this process has gone
            self._ledger.release_lease(self._token)

    def check(self) -> None:
        """Make sure that no other process has taken over.

        Raises:
            CampaignError: one has.
        """
        if self._lost.is_set():
            raise CampaignError(
                f"{_runs(self._ledger.campaign, self._ledger.runner())}, which took over since this process stood "
                f"still for longer than {self._lease_s:g} s. What it has finished is kept; nothing has to be done."
            )

    def _beat(self) -> None:
        while not self._done.wait(self._lease_s / _BEATS):
            with suppress(PyMongoError):  # a database that is away shows nobody signs of life
                if not self._ledger.renew_lease(self._token):
                    self._lost.set()
                    return


@contextmanager
def leased(
    ledger: Ledger,
    folder: Path,
    identity: Identity,
    *,
    private: bool,
    go_on_here: bool = False,
    lease_s: float = LEASE_S,
) -> Iterator[Lease]:
    """Hold the lease of a campaign for the length of the block.

    Args:
        ledger: of the campaign.
        folder: its folder, whose lock this process holds.
        identity: of the folder.
        private: the database is the folder's own, so that nobody reaches it from another machine.
        go_on_here: the campaign goes on in this folder, of whatever it is a copy.
        lease_s: after how long without a sign of life a process elsewhere has gone.

    Raises:
        InputError: another process runs the campaign, or it has gone on in another folder of which this one is a copy.
    """
    before = ledger.runner()
    if before is not None:
        alive = _alive(before, folder, private=private)
        if alive:
            raise InputError(f"{_runs(ledger.campaign, before)}. Wait for it, or stop it.")
        if not go_on_here:
            _check_place(before, folder, identity, private=private)
        if alive is None:
            before = _after_silence(ledger, before, lease_s)
    runner = _this_process(folder)
    known = tuple(token for token in identity.starts if before is not None and token == before.token)
    # A kill between these three leaves a folder that knows the ledger's token, whichever of the two it is.
    write_identity(folder, identity.model_copy(update={"starts": (*known, runner.token)}))
    if not ledger.take_lease(before, runner):
        write_identity(folder, identity)
        raise InputError(f"{_runs(ledger.campaign, ledger.runner())}. Wait for it, or stop it.")
    write_identity(folder, identity.model_copy(update={"starts": (runner.token,)}))
    lease = Lease(ledger, runner.token, lease_s)
    lease.start()
    try:
        yield lease
    finally:
        lease.stop()


def _alive(runner: Runner, folder: Path, *, private: bool) -> bool | None:
    """Whether a process runs the campaign still; None if that cannot be seen from here."""
    if not runner.running or (private and _same_folder(Path(runner.folder), folder)):  # its lock is held here
        return False
    if not runner.machine or runner.machine != machine():
        return None
    if runner.pid == os.getpid():
        return runner.token in _held
    return start_of(runner.pid) in (runner.started, None) and exists(runner.pid)


def _check_place(before: Runner, folder: Path, identity: Identity, *, private: bool) -> None:
    """Ask which of several folders goes on, if this one is not surely the one where the campaign ran last.

    Raises:
        InputError: the campaign ran in another folder that is still there, or has run since this one was copied.
    """
    there = Path(before.folder)
    if before.token in identity.starts and not (_is_of(there, identity) and not _same_folder(there, folder)):
        return
    if str(there) == str(folder):
        raise InputError(
            f"Campaign {identity.name} has gone on since {folder} was copied or restored (last on {before.host}): its "
            "files are older than its ledger. Put the newer files there; or go on with these by `al-loop run "
            "--go-on-here`, where models that are missing are made again from the labels."
        )
    raise InputError(
        f"{folder} is a copy: campaign {identity.name} ran last in {there} on {before.host}. Which folder goes on? Set "
        f"`folder` to {there} to go on there; or give `al-loop run` the option --go-on-here to go on in {folder}. "
        + (
            "Each has a database of its own, and what one of them finishes the other never knows."
            if private
            else "The other one then asks in the same way."
        )
    )


def _after_silence(ledger: Ledger, before: Runner, lease_s: float) -> Runner:
    """Wait until a process elsewhere has shown no sign of life for a lease.

    Raises:
        InputError: it has shown one.
    """
    _logger.warning(
        "%s, which has not said that it ended. It is waited for up to %g s for a sign of life.",
        _runs(ledger.campaign, before),
        lease_s,
    )
    silence: ExpiredLeases[Holder] = ExpiredLeases(lease_s)
    holder = Holder(ledger.campaign, before.token, before.beat, before.host)
    while not silence.after([holder]):
        time.sleep(lease_s / _LOOKS)
        now = ledger.runner()
        if now is None or (now.token == before.token and not now.running):
            break
        if now != before:
            raise InputError(f"{_runs(ledger.campaign, now)}. Wait for it, or stop it.")
    return before


def _runs(campaign: str, runner: Runner | None) -> str:
    where = "" if runner is None else f" (process {runner.pid} on {runner.host}, in {runner.folder})"
    return f"Campaign {campaign} is run by another process{where}"


def _this_process(folder: Path) -> Runner:
    return Runner(
        token=uuid.uuid4().hex,
        folder=os.fsencode(folder).decode(errors="backslashreplace"),  # the ledger takes UTF-8 only
        host=socket.gethostname(),
        machine=machine(),
        pid=os.getpid(),
        started=start_of(os.getpid()) or "",
    )


def _is_of(folder: Path, identity: Identity) -> bool:
    """Whether a folder, as far as it can be seen from here, holds the same campaign."""
    with suppress(InputError, OSError):
        found = read_identity(folder)
        return found is not None and found.campaign_id == identity.campaign_id
    return False


def _same_folder(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    return False
