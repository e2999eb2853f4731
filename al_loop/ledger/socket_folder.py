"""Where a private server's socket lies: in the server's folder, or in a short folder where that path will not do."""

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
"""In the server's folder: names the short folder that is used instead of it."""
_OWNER: Final = "server_folder"  # in the short folder: the server's folder, so that a copy of that one makes its own
_SOCKET_PATH_BYTES: Final = 106  # of 108 in sockaddr_un, with a byte for the end and one to spare
# mongod reads an address out of --bind_ip: a comma begins another one, and colons and brackets make it an IPv6 address.
_SAFE: Final = re.compile(r"[A-Za-z0-9/._-]+")


def running_socket(folder: Path) -> Path:
    """Return where the server of a folder listens that runs now."""
    noted = _noted(folder)
    return (folder if noted is None else noted) / SOCKET


def new_socket(folder: Path) -> Path:
    """Return where the server of a folder is to listen, which does not run now.

    A short folder of an earlier start is used again, unless it belongs to another folder, of which this is a copy.

    Raises:
        InputError: there is no short path in the system's temporary folder.
        OSError: the folder cannot be written.
    """
    note, direct = folder / NOTE, folder / SOCKET
    if _will_do(direct):
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
    """The short folder that is named in the server's folder, if it is private to this user."""
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
        if _will_do(short / SOCKET):
            return short
        short.rmdir()
    raise InputError(
        "The system's temporary folder has too long a path for a unix socket, or one with other characters than "
        "letters, digits, . _ and -; set TMPDIR to another one."
    )


def _will_do(socket: Path) -> bool:
    return len(os.fsencode(socket)) <= _SOCKET_PATH_BYTES and _SAFE.fullmatch(str(socket)) is not None
