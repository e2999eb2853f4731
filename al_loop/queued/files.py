"""What lies in the folder of a step that runs in a queue, and the command that runs it."""

import hashlib
import os
import shlex
import sys
from pathlib import Path

from dft_interfaces.atomic_write import write_whole

FOLDER = "queued"  # below the campaign's
TASK, MODEL = "task.json", "model"
NOTE, PROGRESS, DONE, FAILED = "job.json", "progress.json", "done.json", "failed.json"


def step_folder(campaign_folder: Path, step: str, task: str) -> Path:
    """Return the folder of a step, made with its task in it; another task has another folder.

    Args:
        campaign_folder: absolute.
        step: ``explore``, for example.
        task: JSON.
    """
    digest = hashlib.sha256(task.encode()).hexdigest()[:16]
    folder = campaign_folder / FOLDER / f"{step}-{digest}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / TASK).exists():
        write_whole(folder / TASK, task)
    return folder


def stage_command(folder: Path) -> str:
    """Return the command of a job, with the interpreter of this very environment whatever the PATH of the node says."""
    return shlex.join([sys.executable, "-m", "al_loop.queued.program", os.fspath(folder)])
