"""The campaign's folder: checked, created, locked for one process, and restored if the start fails."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from al_loop.errors import CampaignError, InputError

LOCK_NAME = "campaign.lock"
RUNNING_NAME = "campaign.running"  # locked as well: a check whether a campaign runs takes this lock for a moment
LEDGER = "ledger"  # of the private server
MODELS = "models"  # checkpoints, one for each round
LOGS = "logs"  # of the workers
VALIDATION_NAME = "validation.json"  # of the last ``al-loop validate``
_DENIED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR)
# From the root to the leaves: files in an unreadable folder are invisible.
_FOLDERS: Final = (
    *("dft", "dft/results", "dft/workers", "dft/workers/*", "dft/workers/*/jobs", LEDGER, f"{LEDGER}/data", LOGS),
    *("models", "models/round-*", "queued", "queued/*", "queued/*/in_flight", "tangents", "tangents/*"),
    *("trajectories", "trajectories/round-*", "trajectories/round-*/*"),
)
_REPLACED: Final = (  # as a whole
    *("dft/results/*.json", "models/round-*/committee.*", "queued/*/*.json", "queued/*/in_flight/*.json"),
    *("report.html", "log.jsonl", "tangents/*/*.npz", "tangents/*/*.safetensors", "trajectories/round-*/*/*"),
)
_WRITTEN_INTO: Final = (
    *(LOCK_NAME, RUNNING_NAME, f"{LOGS}/*", *(f"dft/workers/*/{name}" for name in ("lock", "jobs.db", "pyiron.log"))),
    *(f"{LEDGER}/{name}" for name in ("start.lock", "users.lock", "mongod.log", "mongod.start", "data/mongod.lock")),
)
_DATABASE: Final = f"{LEDGER}/data/*.wt"


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


def check_files(folder: Path) -> None:
    """Check that the campaign's files and folders have the expected kind and are writable.

    Only folders are checked one by one, so that many results cost no more than listing them.

    Raises:
        InputError: a path has another kind, or is not writable.
    """
    _check_rights(folder, os.R_OK | os.W_OK | os.X_OK)
    for path in (path for pattern in _FOLDERS for path in sorted(folder.glob(pattern))):
        if not path.is_dir():
            raise InputError(
                f"{path} is a file, and the campaign keeps a folder there. Move it away and restore the folder; or "
                "leave it out, then its content is generated again. Then run the same command."
            )
        _check_rights(path, os.R_OK | os.W_OK | os.X_OK)
    for pattern in (*_REPLACED, *_WRITTEN_INTO):
        for path in folder.glob(f"{pattern}/"):  # the slash: folders alone
            raise InputError(
                f"{path} is a folder, and the campaign keeps a file there. Move it away and run the same command: the "
                "file is generated again."
            )
    for path in (path for pattern in _WRITTEN_INTO for path in folder.glob(pattern)):
        _check_rights(path, os.R_OK | os.W_OK)


def has_database(folder: Path) -> bool:
    """Whether the private ledger of a campaign's folder holds a database.

    Raises:
        InputError: the folder is not readable.
    """
    for path in (folder / LEDGER, folder / LEDGER / "data"):
        if path.is_dir():
            _check_rights(path, os.R_OK | os.X_OK)
    return any(folder.glob(_DATABASE))


@dataclass(frozen=True)
class Remains:
    """Numbers of finished calculations, committees and trajectories in a folder without its ledger."""

    results: int
    models: int
    trajectories: int

    @classmethod
    def of(cls, folder: Path) -> "Remains":
        """Count the files in a folder."""
        patterns = ("dft/results/*.json", "models/round-*", "trajectories/round-*/*/*.extxyz")
        return cls(*(sum(1 for _ in folder.glob(pattern)) for pattern in patterns))

    def __str__(self) -> str:
        """Sentences on the remaining files and the reuse of the calculations."""
        if not (self.results or self.models or self.trajectories):
            return "Nothing else is left in the folder; choose another one for a new campaign."
        left = (
            f"What is left: {self.results} finished calculation(s) (dft/results), {self.models} committee(s) (models) "
            f"and {self.trajectories} trajectories."
        )
        return left + (
            " To use the calculations without a backup, set `folder` to another place and copy dft/results into it "
            "before the first run: a structure that is requested again at the same level of theory takes its result "
            "from there."
        ) * bool(self.results)


def check_remains(folder: Path) -> None:
    """Refuse to start a new campaign over remaining files of another one. Results alone are used again.

    Raises:
        InputError: there are models or trajectories without a ledger.
    """
    left = Remains.of(folder)
    if left.models or left.trajectories:
        raise InputError(
            f"{folder} holds files of a campaign, but neither its campaign.id nor its ledger: a start here would begin "
            f"from zero and overwrite them. Restore both from a backup. {left}"
        )


def _check_rights(path: Path, rights: int) -> None:
    if not os.access(path, rights):
        raise InputError(
            f"folder: {path} cannot be read and written (its permissions do not allow it, or its file system is "
            "read-only). Make it writable (chmod, chown, mount), or set `folder` to a place where you may write."
        )
