"""Files in the folder of a step that runs in a queue, and the command that runs it."""

import hashlib
import os
import shlex
import sys
from logging import getLogger
from pathlib import Path
from typing import Any

from al_loop.errors import CampaignError, InputError
from al_loop.utils.foreign_input import reading
from dft_interfaces.files.atomic_write import write_whole
from dft_interfaces.files.sealed_json import unsealed

logger = getLogger("al_loop.stages")

FOLDER = "queued"  # below the campaign's
TASK, MODEL = "task.json", "model"
NOTE, PROGRESS, DONE, FAILED = "job.json", "progress.json", "done.json", "failed.json"


def step_folder(campaign_folder: Path, step: str, task: str) -> Path:
    """Create and return the folder of a step with its task file; each task has its own folder.

    Args:
        campaign_folder: absolute.
        step: ``explore``, for example.
        task: JSON.
    """
    content = task.encode()
    folder = campaign_folder / FOLDER / f"{step}-{_digest(content)}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / TASK
    if not path.exists() or path.read_bytes() != content:
        write_whole(path, task)
    return folder


def read_task(folder: Path) -> str:
    """Return the task in a step's folder; the folder's name holds its checksum.

    Raises:
        CampaignError: the task does not match its checksum, or cannot be read.
    """
    with reading(folder / TASK, "run the same command again, which writes it again"):
        content = (folder / TASK).read_bytes()
    if not folder.name.endswith(f"-{_digest(content)}"):
        raise CampaignError(
            f"{folder / TASK} was damaged: its SHA-256 is not the one in its folder's name. Run the same command "
            "again, which writes it again"
        )
    return content.decode()


def read_result(path: Path) -> dict[str, Any] | None:
    """Return the result file of a job; None if there is none, or if it does not match its checksum.

    A damaged file is removed and named in the log: the job that wrote it counts as lost.
    """
    try:
        content = path.read_bytes()
    except OSError:  # missing, or not visible yet on a network file system
        return None
    try:
        with reading(path, "its job counts as one without a result"):
            return unsealed(content.decode())
    except InputError as error:
        logger.warning("%s", error)
        path.unlink(missing_ok=True)
        return None


def _digest(task: bytes) -> str:
    return hashlib.sha256(task).hexdigest()[:16]


def stage_command(folder: Path) -> str:
    """Return the command of a job, with the interpreter of this environment for any PATH of the node."""
    return shlex.join([sys.executable, "-m", "al_loop.stages.queue_program", os.fspath(folder)])
