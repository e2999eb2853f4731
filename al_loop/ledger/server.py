"""A private MongoDB server for the campaigns of one folder: on a unix socket alone, outliving a crash."""

import fcntl
import os
import shutil
import socket as sockets
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote

import pymongo
from pymongo.errors import PyMongoError

from al_loop.errors import InputError
from al_loop.ledger.mongod import find_mongod, launch

ANSWER_TIMEOUT_S: Final = 2.0  # of a server at work; a slower one is waited for as long as it holds its data
BUSY_TIMEOUT_S: Final = 30.0  # a server that starts up, recovers or shuts down
STOP_TIMEOUT_S: Final = 30.0
_LAUNCHES: Final = 3
_SOCKET_PATH_BYTES: Final = 106  # of 108 in sockaddr_un, with a byte for the end and one to spare
_SOCKET: Final = "mongod.sock"
# One that is away is noticed within seconds: see patience.py, which waits for it.
_OPTIONS: Final = "journal=true&w=1&directConnection=true&serverSelectionTimeoutMS=5000&connectTimeoutMS=10000"


@dataclass(frozen=True)
class _Place:
    """What lies where in the server's folder."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "mongod.log"

    @property
    def short_folder_note(self) -> Path:
        """Names the folder of the socket where this one's path is too long for a socket."""
        return self.folder / "socket_folder"


def private_server(folder: Path) -> str:
    """URI of the folder's server, which is started unless it runs; it keeps running until ``stop_server``.

    Safe to call from several processes at once. Writes are acknowledged after they are in the journal.

    Raises:
        InputError: the folder cannot be written to, or the server does not start.
    """
    place = _prepared(folder)
    with _starting(place):
        return _ensure(place)


def revive_server(folder: Path) -> None:
    """Start the folder's server again if it has died; one that lives and does not answer is left alone.

    Raises:
        InputError: it does not start.
        OSError: the folder is gone.
    """
    place = _Place(folder.resolve())
    with _starting(place):
        if not _is_in_use(place):
            launch(find_mongod(), place.data, _socket_path(place), place.log)


def stop_server(folder: Path) -> None:
    """Stop the folder's server, whoever uses it; nothing happens if none runs."""
    if folder.is_dir():
        place = _Place(folder.resolve())
        with _starting(place):
            _stop(place)


@contextmanager
def held_server(folder: Path) -> Iterator[str]:
    """URI of the folder's server for the length of the block; the last holder of all processes stops it.

    A holder that is killed lets go without stopping the server; the next holder finds it and stops it in the end.

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
            with suppress(OSError), _starting(place):  # OSError: others hold it, or the folder is gone
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _stop(place)


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
    """One process at a time starts or stops the server; the lock dies with its holder."""
    with (place.folder / "start.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _ensure(place: _Place) -> str:
    launches = 0
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        socket = _socket_path(place)
        if _answers(socket):
            return _uri(socket)
        # A second mongod on the same data would take the first one's socket away before it gives up.
        if _is_in_use(place):
            if time.monotonic() > deadline:
                raise InputError(_not_answering(place, socket))
            time.sleep(0.1)
            continue
        if launches == _LAUNCHES:
            raise InputError(
                f"The MongoDB server in {place.folder} ended {launches} times right after its start. See {place.log}."
            )
        launch(find_mongod(), place.data, socket, place.log)
        launches += 1


def _stop(place: _Place) -> None:
    socket = _socket_path(place)
    if _answers(socket):
        with suppress(PyMongoError):  # it hangs up instead of an answer
            _command(socket, "shutdown")
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while _is_in_use(place) and time.monotonic() < deadline:
            time.sleep(0.02)
    if socket.parent != place.folder and not _is_in_use(place):
        shutil.rmtree(socket.parent, ignore_errors=True)
        place.short_folder_note.unlink(missing_ok=True)


def _answers(socket: Path) -> bool:
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
        try:
            probe.settimeout(ANSWER_TIMEOUT_S)
            probe.connect(str(socket))
        except OSError:
            return False
    try:
        _command(socket, "ping")
    except PyMongoError:
        return False
    return True


def _command(socket: Path, name: str) -> None:
    client: pymongo.MongoClient[dict[str, Any]]
    with pymongo.timeout(ANSWER_TIMEOUT_S), pymongo.MongoClient(_uri(socket)) as client:
        client.admin.command(name)


def _is_in_use(place: _Place) -> bool:
    """Whether a mongod holds the data; its lock dies with it."""
    try:
        with (place.data / "mongod.lock").open("rb") as lock:
            return not _may_lock(lock)
    except FileNotFoundError:
        return False


def _may_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _not_answering(place: _Place, socket: Path) -> str:
    pid = (place.data / "mongod.lock").read_text(errors="replace").strip() or "unknown"
    return (
        f"A MongoDB server (process {pid}) holds {place.data} but does not answer on {socket}. "
        f"If it runs on another machine, run there; else end it (`kill {pid}`) and run the same command again."
    )


def _uri(socket: Path) -> str:
    return f"mongodb://{quote(str(socket), safe='')}/?{_OPTIONS}"


def _socket_path(place: _Place) -> Path:
    direct = place.folder / _SOCKET
    if _fits(direct):
        return direct
    with suppress(OSError):
        noted = Path(place.short_folder_note.read_text(encoding="utf-8"))
        if _is_private(noted):
            return noted / _SOCKET
    short = _new_short_folder()
    place.short_folder_note.write_text(str(short), encoding="utf-8")
    return short / _SOCKET


def _new_short_folder() -> Path:
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp makes it private
        short = Path(tempfile.mkdtemp(prefix="al-loop-", dir=parent))
        if _fits(short / _SOCKET):
            return short
        short.rmdir()
    raise InputError(
        "The system's temporary folder has too long a path for a unix socket; set TMPDIR to a shorter one."
    )


def _fits(socket: Path) -> bool:
    # mongod takes a comma in --bind_ip for the start of another address.
    return len(os.fsencode(socket)) <= _SOCKET_PATH_BYTES and "," not in str(socket)


def _is_private(folder: Path) -> bool:
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
