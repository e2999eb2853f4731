"""The lease in the ledger that lets only one process run a campaign, even with several copies of its folder.

As with workers, no wall clock is used. A holder on this machine is looked up among its processes; one on another
machine has ended if it sends no heartbeat for the length of a lease, measured by this process's monotonic clock.
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
_BEATS: Final = 4  # heartbeats in the length of a lease
_LOOKS: Final = 60

_logger = logging.getLogger("al_loop")
_held: set[str] = set()  # tokens of this process's own leases


class Lease:
    """The lease of a campaign, renewed in a thread.

    Args:
        ledger: of the campaign.
        token: of this start.
        lease_s: time without a heartbeat after which another process may take over.
    """

    def __init__(self, ledger: Ledger, token: str, lease_s: float) -> None:
        self._ledger = ledger
        self._token = token
        self._lease_s = lease_s
        self._lost = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def start(self) -> None:
        """Start to renew the lease."""
        _held.add(self._token)
        self._thread.start()

    def stop(self) -> None:
        """Stop to renew the lease and release it, if the database responds."""
        self._done.set()
        self._thread.join(self._lease_s)
        _held.discard(self._token)
        with suppress(PyMongoError):  # the next start finds that this process has ended
            self._ledger.release_lease(self._token)

    def check(self) -> None:
        """Check that no other process has taken over.

        Raises:
            CampaignError: one has.
        """
        if self._lost.is_set():
            raise CampaignError(
                f"{_runs(self._ledger.campaign, self._ledger.runner())}, which took over because this process "
                f"paused for longer than {self._lease_s:g} s. Its finished results are kept; no action is required."
            )

    def _beat(self) -> None:
        while not self._done.wait(self._lease_s / _BEATS):
            with suppress(PyMongoError):  # no other process sees a heartbeat while the database is away
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
    """Hold the lease of a campaign during the block.

    Args:
        ledger: of the campaign.
        folder: its folder, whose lock this process holds.
        identity: of the folder.
        private: the database is the folder's own, so that no process on another machine uses it.
        go_on_here: continue in this folder, even if it is a copy.
        lease_s: time without a heartbeat after which a process on another machine has ended.

    Raises:
        InputError: another process runs the campaign, or it has continued in another folder that this one copies.
    """
    before = ledger.runner()
    if before is not None:
        alive = _alive(before, folder, private=private)
        if alive:
            raise InputError(f"{_runs(ledger.campaign, before)}. Wait for it, or stop it.")
        if not go_on_here:
            _check_place(before, folder, identity, private=private)
        if alive is None:
            before = _wait_for_heartbeat(ledger, before, lease_s)
    runner = _this_process(folder)
    known = tuple(token for token in identity.starts if before is not None and token == before.token)
    # A kill between these three leaves a folder with the ledger's token, the old or the new one.
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


def check_not_a_copy(ledger: Ledger, folder: Path, *, private: bool) -> None:
    """Check that new labels or frames reach the folder in which the campaign goes on, not a copy of it.

    Args:
        ledger: of the campaign.
        folder: of the campaign; one without ``campaign.id`` is not checked.
        private: the database is the folder's own.

    Raises:
        InputError: the campaign ran last in another folder that this one copies, or has run since this one was copied.
    """
    identity, before = read_identity(folder), ledger.runner()
    if identity is not None and before is not None:
        _check_place(before, folder, identity, private=private)


def _alive(runner: Runner, folder: Path, *, private: bool) -> bool | None:
    """Whether the process still runs the campaign; None if that is not known on this machine."""
    if not runner.running or (private and _same_folder(Path(runner.folder), folder)):  # its lock is held here
        return False
    if not runner.machine or runner.machine != machine():
        return None
    if runner.pid == os.getpid():
        return runner.token in _held
    return start_of(runner.pid) in (runner.started, None) and exists(runner.pid)


def _check_place(before: Runner, folder: Path, identity: Identity, *, private: bool) -> None:
    """Check that the campaign ran last in this folder; otherwise the user must choose the folder.

    Raises:
        InputError: the campaign ran in another folder that still exists, or has run since this one was copied.
    """
    there = Path(before.folder)
    if before.token in identity.starts and not (_is_of(there, identity) and not _same_folder(there, folder)):
        return
    if str(there) == str(folder):
        raise InputError(
            f"Campaign {identity.name} has run since {folder} was copied or restored (last on {before.host}): its "
            "files are older than its ledger. Put the newer files there; or continue with these by `al-loop run "
            "--go-on-here`, where missing models are trained again from the labels."
        )
    raise InputError(
        f"{folder} is a copy: campaign {identity.name} ran last in {there} on {before.host}. Set `folder` to {there} "
        f"to continue there; or give `al-loop run` the option --go-on-here to continue in {folder}. "
        + (
            "Each has its own database, and neither has the other's results."
            if private
            else "The other folder is then refused in the same way."
        )
    )


def _wait_for_heartbeat(ledger: Ledger, before: Runner, lease_s: float) -> Runner:
    """Wait for the length of a lease whether the process sends a heartbeat.

    Raises:
        InputError: it sends one.
    """
    _logger.warning(
        "%s, which has not recorded its end. Waiting up to %g s for its heartbeat.",
        _runs(ledger.campaign, before),
        lease_s,
    )
    expired: ExpiredLeases[Holder] = ExpiredLeases(lease_s)
    holder = Holder(ledger.campaign, before.token, before.beat, before.host)
    while not expired.after([holder]):
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
        folder=os.fsencode(folder).decode(errors="backslashreplace"),  # the ledger accepts UTF-8 only
        host=socket.gethostname(),
        machine=machine(),
        pid=os.getpid(),
        started=start_of(os.getpid()) or "",
    )


def _is_of(folder: Path, identity: Identity) -> bool:
    """Whether a folder exists on this machine and holds the same campaign."""
    with suppress(InputError, OSError):
        found = read_identity(folder)
        return found is not None and found.campaign_id == identity.campaign_id
    return False


def _same_folder(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    return False
