"""A running mongod: whether it is the one of a database folder, what it is told, and how it is ended."""

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

ANSWER_TIMEOUT_S: Final = 2.0  # of a server at work; a slower one is waited for as long as it holds its data
END_TIMEOUT_S: Final = 10.0  # after SIGTERM, on which mongod shuts down; the journal keeps what SIGKILL cuts off
_POLL_S: Final = 0.02
# One that is away is noticed within seconds: see patience.py, which waits for it.
_OPTIONS: Final = "journal=true&w=1&directConnection=true&serverSelectionTimeoutMS=5000&connectTimeoutMS=10000"


class Answer(Enum):
    """Who answers on a socket."""

    NONE = "nobody"
    OURS = "the server that keeps its data in this folder"
    MOVED = "the server of this folder, which was started where the folder was before"
    OTHER = "a server that keeps its data elsewhere"


def uri_of(socket: Path) -> str:
    """URI of the server that listens on a socket."""
    return f"mongodb://{quote(str(socket), safe='')}/?{_OPTIONS}"


def is_in_use(data: Path) -> bool:
    """Whether a mongod holds a database folder; its lock dies with it."""
    try:
        with (data / "mongod.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def still_in_use(data: Path, timeout_s: float) -> bool:
    """Wait until nobody holds a database folder any more; True if somebody does after that time."""
    deadline = time.monotonic() + timeout_s
    while is_in_use(data):
        if time.monotonic() > deadline:
            return True
        time.sleep(_POLL_S)
    return False


def who_answers(socket: Path, data: Path) -> Answer:
    """Say whether the server on a socket is the one that holds a database folder, by its own word."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
        try:
            probe.settimeout(ANSWER_TIMEOUT_S)
            probe.connect(str(socket))
        except OSError:
            return Answer.NONE
    try:
        told = Path(_command(socket, "getCmdLineOpts")["parsed"]["storage"]["dbPath"])
        with suppress(OSError):
            return Answer.OURS if told.samefile(data) else Answer.OTHER
        # Its folder is gone from where it was: it was moved here if the lock in it is this server's.
        pid = _command(socket, "serverStatus")["pid"]
    except (PyMongoError, KeyError):
        return Answer.NONE
    return Answer.MOVED if is_in_use(data) and pid == _locked_by(data) else Answer.OTHER


def shut_down(socket: Path) -> None:
    """Tell a server to shut down, which takes longer than this call."""
    with suppress(PyMongoError):  # it hangs up instead of an answer
        _command(socket, "shutdown")


def end_process(data: Path) -> bool:
    """End the mongod of this machine that holds a database folder: SIGTERM, then SIGKILL.

    Returns:
        Whether it has ended; not if none is found: its lock may be of another machine.
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
    """Whether a process has the lock of a database folder open: a number may have come to mean another process."""
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
    # Paths come back as they are on the disk, which need not be UTF-8.
    as_on_disk: CodecOptions[dict[str, Any]] = CodecOptions(unicode_decode_error_handler="surrogateescape")
    with pymongo.timeout(ANSWER_TIMEOUT_S), pymongo.MongoClient(uri_of(socket)) as client:
        return client.get_database("admin").command(name, codec_options=as_on_disk)
