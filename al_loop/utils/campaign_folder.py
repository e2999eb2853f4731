"""The campaign's folder: created, locked for one process, and restored if the start fails."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from al_loop.errors import CampaignError, InputError

LOCK_NAME = "campaign.lock"
RUNNING_NAME = "campaign.running"  # locked as well: a check whether a campaign runs takes this lock for a moment
LEDGER = "ledger"  # of the private server
MODELS = "models"  # checkpoints, one for each round
LOGS = "logs"  # of the workers
VALIDATION_NAME = "validation.json"  # of the last ``al-loop validate``
_DENIED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR)


@contextmanager
def locked_folder(folder: Path) -> Iterator[Path]:
    """Create ``folder`` if needed and hold its lock.

    Raises:
        InputError: it cannot be written, or another process runs a campaign in it.
    """
    lock_path = folder / LOCK_NAME
    try:
        created = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        handle = lock_path.open("a+", errors="replace")
        running = (folder / RUNNING_NAME).open("ab")
    except OSError as error:
        raise InputError(
            f"folder: {error.filename or folder} cannot be written ({error.strerror}). Set `folder` to a place where "
            "you may write."
        ) from error
    with handle, running:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            raise InputError(
                f"A campaign is already running in {folder} (process {handle.read().strip() or 'unknown'}). "
                "Wait for it, stop it, or use another `folder`."
            ) from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        try:
            fcntl.flock(running, fcntl.LOCK_EX)
            yield folder
        except InputError:
            _remove_unused(folder, created)
            raise


@contextmanager
def told_if_unwritable(folder: Path) -> Iterator[None]:
    """Turn a missing permission for a file of a campaign, such as a read-only mount, into one message.

    Raises:
        CampaignError: a file could not be read or written.
    """
    try:
        yield
    except OSError as error:
        path = Path(os.fsdecode(error.filename2 or error.filename or ""))
        if error.errno not in _DENIED or not path.is_relative_to(folder):
            raise
        raise CampaignError(
            f"{path} cannot be read or written any more ({error.strerror}). Fix that (chmod, chown, mount; move away "
            "anything in its place) and run the same command: it continues where this one stopped, and no finished "
            "result is lost."
        ) from error


def inside(folder: Path, name: str) -> Path:
    """Return the path of a name from the database in a folder.

    Raises:
        InputError: the path is outside the folder, by itself or by a symbolic link.
    """
    path = folder / name
    if not name or Path(name).name != name or name == ".." or path.resolve().parent != folder.resolve():
        raise InputError(
            f"The database names {name!r} in {folder}, which is outside of it: another program has written to it. "
            "Do not use this database before its owner has checked it."
        )
    return path


def _remove_unused(folder: Path, created: list[Path]) -> None:
    """Remove the files that a failed start has created; a folder with a campaign stays."""
    if folder not in created or not {path.name for path in folder.iterdir()} <= {LOCK_NAME, RUNNING_NAME, LEDGER}:
        return
    shutil.rmtree(folder)
    with suppress(OSError):  # other files were created there meanwhile
        for parent in created[1:]:
            parent.rmdir()
