"""A private MongoDB server for the campaigns of one folder: on a unix socket only, unaffected by crashes of al-loop."""

import fcntl
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from al_loop.errors import InputError
from al_loop.ledger.mongod import START_TIMEOUT_S, find_mongod, launch
from al_loop.ledger.mongod_process import Responder, end_process, is_in_use, probe, shut_down, still_in_use, uri_of
from al_loop.ledger.socket_folder import NOTE, new_socket, running_socket, short_folder

BUSY_TIMEOUT_S: Final = 30.0  # a server that starts up, recovers or shuts down
STOP_TIMEOUT_S: Final = 30.0
_LAUNCHES: Final = 3
_ROOT: Final = "WiredTiger.turtle"  # root file of the database
_POLL_S: Final = 0.02

_logger = logging.getLogger("al_loop")


@dataclass(frozen=True)
class _Place:
    """Paths in the server's folder."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "mongod.log"


def private_server(folder: Path) -> str:
    """Return the URI of the folder's server, which is started unless it runs; it keeps running until ``stop_server``.

    Safe to call from several processes at once. Writes are acknowledged after they are in the journal.

    Raises:
        InputError: the folder cannot be written to, or the server does not start.
    """
    place = _prepared(folder)
    with _starting(place):
        return _ensure(place)


def revive_server(folder: Path) -> bool:
    """Start the folder's server again if it has died; one that runs but does not respond is left alone.

    Returns:
        Whether it was started.

    Raises:
        InputError: it does not start.
        OSError: the folder is missing.
    """
    place = _Place(folder.resolve())
    with _starting(place):
        if not is_in_use(place.data):
            if not any(place.data.glob("*.wt")):
                raise InputError(f"The database in {place.data} is gone.")
            _launch(place)
            return True
    return False


def stop_server(folder: Path) -> None:
    """Stop the folder's server even if it is in use; nothing happens if none runs."""
    if folder.is_dir():
        place = _Place(folder.resolve())
        with _starting(place):
            _stop(place)


@contextmanager
def held_server(folder: Path) -> Iterator[str]:
    """Yield the URI of the folder's server during the block; the last process that holds it stops it.

    If a holder is killed, the server keeps running; the next holder finds it and stops it in the end.

    Raises:
        InputError: the folder cannot be written to, or the server does not start.
    """
    place = _prepared(folder)
    with (place.folder / "users.lock").open("ab") as users:
        with _starting(place):
            uri = _ensure(place)
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield uri
        finally:
            try:
                with suppress(OSError), _starting(place):  # OSError: others hold it, or the folder is missing
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _stop(place)
            except InputError as error:  # the work with the server is finished all the same
                _logger.warning("%s", error)


def _prepared(folder: Path) -> _Place:
    place = _Place(folder.expanduser().resolve())
    try:
        for path in (place.folder, place.data):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.chmod(0o700)
        with (place.folder / "start.lock").open("ab"), (place.folder / "users.lock").open("ab"):
            pass
    except OSError as error:
        raise InputError(
            f"The ledger cannot be kept in {place.folder}: {error.strerror} ({error.filename}). "
            "Choose a folder that you may write to, or set MONGODB_URI (or store.uri) to a MongoDB server of your own."
        ) from error
    return place


@contextmanager
def _starting(place: _Place) -> Iterator[None]:
    """Let only one process at a time start or stop the server; the lock ends with its holder.

    Raises:
        InputError: another process holds the lock for longer than a start and a stop can take.
    """
    timeout_s = START_TIMEOUT_S + BUSY_TIMEOUT_S + STOP_TIMEOUT_S
    deadline = time.monotonic() + timeout_s
    path = place.folder / "start.lock"
    with _opened_to_lock(path) as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise InputError(
                        f"Another process has held {path} for more than {timeout_s:g} s, longer than a server "
                        f"needs to start or stop. Find it (`fuser {path}`), end it and run the same command again."
                    ) from None
                time.sleep(_POLL_S)
            else:
                break
        yield


def _opened_to_lock(path: Path) -> IO[bytes]:
    """Open the file of a lock, for reading if its file system is read-only, where a server must still be stopped."""
    try:
        return path.open("ab")
    except OSError:
        return path.open("rb")


def _ensure(place: _Place) -> str:
    """Return the URI of a responding server with its data in this folder, which is started unless it runs."""
    launches = 0
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        # A second mongod on the same data would replace the first one's socket before it fails.
        if not is_in_use(place.data):
            if launches == _LAUNCHES:
                raise InputError(
                    f"The MongoDB server in {place.folder} ended {launches} times right after its start. "
                    f"See {place.log}."
                )
            _launch(place)
            launches += 1
            deadline = time.monotonic() + BUSY_TIMEOUT_S
        socket = running_socket(place.folder)
        responder = probe(socket, place.data)
        if responder is Responder.OURS or (responder is Responder.MOVED and _is_used(place)):
            return uri_of(socket)
        if responder is Responder.MOVED:  # its files are here, but it would create new ones in the old folder
            _logger.info("The server in %s was started before the folder was moved, and is started again.", place.data)
            _stop(place)
        elif time.monotonic() > deadline:
            raise InputError(_not_responding(place, socket, responder, started=launches > 0))
        time.sleep(_POLL_S)


def _is_used(place: _Place) -> bool:
    """Whether a process holds the server, see ``held_server``."""
    with (place.folder / "users.lock").open("ab") as users:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _launch(place: _Place) -> None:
    """Start a server; one that does not start in time is terminated.

    Raises:
        InputError: it did not start.
    """
    _refuse_empty_database(place)
    try:
        launch(find_mongod(), place.data, new_socket(place.folder), place.log)
    except InputError:
        end_process(place.data)
        raise


def _refuse_empty_database(place: _Place) -> None:
    """Raise if mongod would create an empty database over remaining files, which it does without the root file.

    Raises:
        InputError: it would create one.
    """
    if any(place.data.glob("*.wt")) and not (place.data / _ROOT).exists():
        raise InputError(
            f"The ledger's database in {place.data} is damaged: its file {_ROOT} is missing, without which "
            f"an empty one would be created. Restore the folder {place.folder} from a backup and run the same command."
        )


def _stop(place: _Place) -> None:
    """Shut the server down; one that does not stop is terminated, and one of another folder is left alone."""
    if is_in_use(place.data):
        socket = running_socket(place.folder)
        responder = probe(socket, place.data)
        if responder is Responder.OTHER:
            return
        if responder is not Responder.NONE:
            shut_down(socket)
        if still_in_use(place.data, 0.0 if responder is Responder.NONE else STOP_TIMEOUT_S) and end_process(place.data):
            _logger.warning("The MongoDB server in %s did not shut down by itself and was ended.", place.folder)
    short = short_folder(place.folder)
    if short is not None and not is_in_use(place.data):
        shutil.rmtree(short, ignore_errors=True)
        (place.folder / NOTE).unlink(missing_ok=True)


def _not_responding(place: _Place, socket: Path, responder: Responder, *, started: bool) -> str:
    """Message for a server that holds the data and does not respond; one that was just started is terminated."""
    if started and end_process(place.data):
        return (
            f"The MongoDB server that was started in {place.folder} did not answer on {socket} within "
            f"{BUSY_TIMEOUT_S:g} s and was ended. See {place.log} for the reason."
        )
    pid = (place.data / "mongod.lock").read_text(errors="replace").strip() or "unknown"
    holds = f"A MongoDB server (process {pid}) holds {place.data} but"
    if responder is Responder.OTHER:
        return (
            f"{holds} the server on {socket} keeps its data in another folder, of which this one is a copy or a "
            f"link. End the process (`kill {pid}`), or use the other folder."
        )
    return (
        f"{holds} does not answer on {socket}. "
        f"If it runs on another machine, run there; else end it (`kill {pid}`) and run the same command again."
    )
