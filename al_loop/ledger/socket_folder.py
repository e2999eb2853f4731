"""Path of a private server's socket: in the server's folder, or in a short folder if that path is unsuitable."""

import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from al_loop.errors import InputError

SOCKET: Final = "mongod.sock"
NOTE: Final = "socket_folder"
"""File in the server's folder with the path of the short folder that is used instead of it."""
_OWNER: Final = "server_folder"  # file in the short folder with the server's folder, since a copy needs its own
_SOCKET_PATH_BYTES: Final = 106  # of 108 in sockaddr_un, with a byte for the end and one in reserve
# mongod parses --bind_ip: a comma separates addresses, and colons and brackets mark an IPv6 address.
_SAFE: Final = re.compile(r"[A-Za-z0-9/._-]+")


def running_socket(folder: Path) -> Path:
    """Return the socket of a folder's running server."""
    noted = _noted(folder)
    return (folder if noted is None else noted) / SOCKET


def new_socket(folder: Path) -> Path:
    """Return the socket for a folder's server that is to be started.

    The short folder of an earlier start is used again, unless it belongs to another folder that was copied here.

    Raises:
        InputError: there is no short path in the system's temporary folder.
        OSError: the folder cannot be written.
    """
    note, direct = folder / NOTE, folder / SOCKET
    if _is_suitable(direct):
        note.unlink(missing_ok=True)
        return direct
    short = _noted(folder)
    if short is None or not _belongs_to(short, folder):
        short = _new_short_folder()
        (short / _OWNER).write_bytes(os.fsencode(folder))
        note.write_text(str(short), encoding="utf-8")
    return short / SOCKET


def short_folder(folder: Path) -> Path | None:
    """Return the short folder that belongs to a server's folder, None if there is none."""
    noted = _noted(folder)
    return noted if noted is not None and _belongs_to(noted, folder) else None


def _noted(folder: Path) -> Path | None:
    """The short folder recorded in the server's folder, if it is private to this user."""
    with suppress(OSError, ValueError):
        noted = Path((folder / NOTE).read_text(encoding="utf-8"))
        status = noted.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077:
            return noted
    return None


def _belongs_to(short: Path, folder: Path) -> bool:
    with suppress(OSError):
        return (short / _OWNER).read_bytes() == os.fsencode(folder)
    return False


def _new_short_folder() -> Path:
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp makes it private
        short = Path(tempfile.mkdtemp(prefix="al-loop-", dir=parent))
        if _is_suitable(short / SOCKET):
            return short
        short.rmdir()
    raise InputError(
        "The system's temporary folder has too long a path for a unix socket, or one with other characters than "
        "letters, digits, . _ and -; set TMPDIR to another one."
    )


def _is_suitable(socket: Path) -> bool:
    return len(os.fsencode(socket)) <= _SOCKET_PATH_BYTES and _SAFE.fullmatch(str(socket)) is not None
