"""The campaign's folder: created, locked for one process, and left as it was if the start fails."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from al_loop.errors import InputError

LOCK_NAME = "campaign.lock"
LEDGER = "ledger"  # of the private server
LOGS = "logs"  # of the workers


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
        handle = lock_path.open("a+")
    except OSError as error:
        raise InputError(
            f"folder: {folder} cannot be written ({error.strerror}). Set `folder` to a place where you may write."
        ) from error
    with handle:
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
            yield folder
        except InputError:
            _remove_unused(folder, created)
            raise


def _remove_unused(folder: Path, created: list[Path]) -> None:
    """Take away what a start that failed has created; a folder with a campaign in it stays."""
    if folder not in created or not {path.name for path in folder.iterdir()} <= {LOCK_NAME, LEDGER}:
        return
    shutil.rmtree(folder)
    with suppress(OSError):  # somebody put something else there meanwhile
        for parent in created[1:]:
            parent.rmdir()
