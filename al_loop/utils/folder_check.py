"""What lies in a campaign's folder before anything is calculated: kinds of files, rights, and what others left."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from al_loop.errors import InputError
from al_loop.utils.campaign_folder import LEDGER, LOCK_NAME, LOGS, RUNNING_NAME

# From the root to the leaves: what lies in a folder that may not be read is not seen.
_FOLDERS: Final = (
    *("dft", "dft/results", "dft/workers", "dft/workers/*", "dft/workers/*/jobs", LEDGER, f"{LEDGER}/data", LOGS),
    *("models", "models/round-*", "queued", "queued/*", "tangents", "tangents/*"),
    *("trajectories", "trajectories/round-*", "trajectories/round-*/*"),
)
_REPLACED: Final = (  # as a whole
    *("dft/results/*.json", "models/round-*/committee.*", "queued/*/*.json", "report.html", "log.jsonl"),
    *("tangents/*/*.npz", "tangents/*/*.safetensors", "trajectories/round-*/*/*"),
)
_WRITTEN_INTO: Final = (
    *(LOCK_NAME, RUNNING_NAME, f"{LOGS}/*", *(f"dft/workers/*/{name}" for name in ("lock", "jobs.db", "pyiron.log"))),
    *(f"{LEDGER}/{name}" for name in ("start.lock", "users.lock", "mongod.log", "mongod.start", "data/mongod.lock")),
)
_DATABASE: Final = f"{LEDGER}/data/*.wt"


def check_files(folder: Path) -> None:
    """Make sure that a campaign can write where it will, and that files and folders are where it keeps such.

    Only folders are looked at one by one, so that a hundred thousand results cost no more than listing them.

    Raises:
        InputError: something else stands there, or may not be written.
    """
    _check_rights(folder, os.R_OK | os.W_OK | os.X_OK)
    for path in (path for pattern in _FOLDERS for path in sorted(folder.glob(pattern))):
        if not path.is_dir():
            raise InputError(
                f"{path} is a file, and the campaign keeps a folder there. Move it away and restore the folder; or "
                "leave it out, then what it held is made again. Then run the same command."
            )
        _check_rights(path, os.R_OK | os.W_OK | os.X_OK)
    for pattern in (*_REPLACED, *_WRITTEN_INTO):
        for path in folder.glob(f"{pattern}/"):  # the slash: folders alone
            raise InputError(
                f"{path} is a folder, and the campaign keeps a file there. Move it away and run the same command: the "
                "file is made again."
            )
    for path in (path for pattern in _WRITTEN_INTO for path in folder.glob(pattern)):
        _check_rights(path, os.R_OK | os.W_OK)


def has_database(folder: Path) -> bool:
    """Whether the private ledger of a campaign's folder holds a database.

    Raises:
        InputError: that may not be seen.
    """
    for path in (folder / LEDGER, folder / LEDGER / "data"):
        if path.is_dir():
            _check_rights(path, os.R_OK | os.X_OK)
    return any(folder.glob(_DATABASE))


@dataclass(frozen=True)
class Remains:
    """What a campaign has left in a folder, its ledger apart.

    Attributes:
        results: finished calculations.
        models: committees.
        trajectories: files of trajectories.
    """

    results: int
    models: int
    trajectories: int

    @classmethod
    def of(cls, folder: Path) -> "Remains":
        """Count them."""
        patterns = ("dft/results/*.json", "models/round-*", "trajectories/round-*/*/*.extxyz")
        return cls(*(sum(1 for _ in folder.glob(pattern)) for pattern in patterns))

    def __str__(self) -> str:
        """What is left, and how the calculations are used again, in sentences."""
        if not (self.results or self.models or self.trajectories):
            return "Nothing else is left in the folder; choose another one to start anew."
        left = (
            f"What is left: {self.results} finished calculation(s) (dft/results), {self.models} committee(s) (models) "
            f"and {self.trajectories} trajectories."
        )
        return left + (
            " To use the calculations without a backup, set `folder` to another place and copy dft/results into it "
            "before the first run: a structure that is asked for again at the same level of theory takes its result "
            "from there."
        ) * bool(self.results)


def check_remains(folder: Path) -> None:
    """Refuse to start a campaign from zero over what another one has left. Results alone are used again.

    Raises:
        InputError: models or trajectories lie there, and no ledger knows them.
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
