"""A running mongod: whether it serves a database folder, commands to it, and its termination."""

import fcntl
import socket as sockets
import time
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psutil
import pymongo
from bson.codec_options import CodecOptions
from pymongo.errors import PyMongoError

ANSWER_TIMEOUT_S: Final = 2.0  # of a running server; a slower one is polled as long as it holds its data
END_TIMEOUT_S: Final = 10.0  # after SIGTERM, on which mongod shuts down; SIGKILL loses nothing that is in the journal
_POLL_S: Final = 0.02
# A lost server is noticed within seconds: see reconnect.py, which waits for it.
_OPTIONS: Final = "journal=true&w=1&directConnection=true&serverSelectionTimeoutMS=5000&connectTimeoutMS=10000"


class Responder(Enum):
    """The server that responds on a socket."""

    NONE = "no server"
    OURS = "the server that keeps its data in this folder"
    MOVED = "the server of this folder, which was started where the folder was before"
    OTHER = "a server that keeps its data elsewhere"


def uri_of(socket: Path) -> str:
    """URI of the server that listens on a socket."""
    return f"mongodb://{quote(str(socket), safe='')}/?{_OPTIONS}"


def is_in_use(data: Path) -> bool:
    """Whether a mongod holds the lock of a database folder, which ends with the process."""
    try:
        with (data / "mongod.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def still_in_use(data: Path, timeout_s: float) -> bool:
    """Wait until no server holds a database folder; True if one still does after that time."""
    deadline = time.monotonic() + timeout_s
    while is_in_use(data):
        if time.monotonic() > deadline:
            return True
        time.sleep(_POLL_S)
    return False


def probe(socket: Path, data: Path) -> Responder:
    """Return whether the server on a socket reports to serve a database folder."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as connection:
        try:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(str(socket))
        except OSError:
            return Responder.NONE
    try:
        reported = Path(_command(socket, "getCmdLineOpts")["parsed"]["storage"]["dbPath"])
        with suppress(OSError):
            return Responder.OURS if reported.samefile(data) else Responder.OTHER
        # The reported path does not exist: the folder was moved here if the lock in it is this server's.
        pid = _command(socket, "serverStatus")["pid"]
    except (PyMongoError, KeyError):
        return Responder.NONE
    return Responder.MOVED if is_in_use(data) and pid == _locked_by(data) else Responder.OTHER


def shut_down(socket: Path) -> None:
    """Send the shutdown command to a server; the shutdown takes longer than this call."""
    with suppress(PyMongoError):  # it closes the connection without a reply
        _command(socket, "shutdown")


def end_process(data: Path) -> bool:
    """Terminate the mongod on this machine that holds a database folder: SIGTERM, then SIGKILL.

    Returns:
        Whether it has ended; False if none is found, since the lock may be of another machine.
    """
    pid = _locked_by(data) if is_in_use(data) else None
    with suppress(psutil.Error):
        process = psutil.Process(pid) if pid is not None else None
        if process is None or not _holds(process, data):
            return False
        for end in (process.terminate, process.kill):
            end()
            if not still_in_use(data, END_TIMEOUT_S):
                break
    return not is_in_use(data)


def _holds(process: psutil.Process, data: Path) -> bool:
    """Whether a process has the lock of a database folder open: process ids are reused."""
    lock = data / "mongod.lock"
    for opened in process.open_files():
        with suppress(OSError):
            if lock.samefile(opened.path):
                return True
    return False


def _locked_by(data: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int((data / "mongod.lock").read_text(encoding="utf-8"))
    return None


def _command(socket: Path, name: str) -> dict[str, Any]:
    client: pymongo.MongoClient[dict[str, Any]]
    # Paths are bytes as on the disk, which need not be UTF-8.
    as_on_disk: CodecOptions[dict[str, Any]] = CodecOptions(unicode_decode_error_handler="surrogateescape")
    with pymongo.timeout(ANSWER_TIMEOUT_S), pymongo.MongoClient(uri_of(socket)) as client:
        return client.get_database("admin").command(name, codec_options=as_on_disk)
