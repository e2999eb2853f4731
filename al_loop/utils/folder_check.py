"""Checks of a campaign's folder before anything is calculated: kinds of files, permissions, and remaining files."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from al_loop.errors import InputError
from al_loop.utils.campaign_folder import LEDGER, LOCK_NAME, LOGS, RUNNING_NAME

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
    """Remaining files of a campaign in a folder, without its ledger.

    Attributes:
        results: number of finished calculations.
        models: number of committees.
        trajectories: number of trajectory files.
    """

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
