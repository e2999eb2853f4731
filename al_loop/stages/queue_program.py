"""The program of a queue job, without ledger and credentials: ``python -m al_loop.stages.queue_program FOLDER``."""

import fcntl
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from al_loop.errors import CampaignError
from al_loop.stages.explore.run import explore_stored
from al_loop.stages.queue_tasks import (
    DONE,
    FAILED,
    MODEL,
    PROGRESS,
    ExploreTask,
    TaskFile,
    TrainTask,
    atoms_from_text,
    frame_from_dict,
    read_result,
    read_task,
    start_from_dict,
)
from al_loop.stages.train.candidate import campaign_fitting, compared_labels
from al_loop.stages.train.fitting import Backbones, best_candidate
from al_loop.utils.progress import Advance, Progress
from committee.backbones import load_backbone
from committee.checkpoint import load, save
from committee.errors import CommitteeError
from dft_interfaces.files.atomic_write import write_whole
from dft_interfaces.files.sealed_json import sealed

PROGRESS_EVERY_S = 1.0


def explore(task: ExploreTask, advance: Advance) -> dict[str, Any]:
    """Run the unfinished trajectories; they are written to their own folder."""
    potential = load(task.model, load_backbone(task.foundation))
    starts = [start_from_dict(start) for start in task.starts]
    explore_stored(task.trajectories, potential, starts, task.settings, task.physics, advance)
    return {}


def train(task: TrainTask, folder: Path, progress: Progress) -> dict[str, Any]:
    """Compare the labels with the foundation, and fit a candidate if they agree."""
    config, foundation = task.config, load_backbone(task.config.foundation)
    backbones = Backbones(foundation, foundation if task.served is None else load(task.served, foundation).backbone)
    frames, compared_only, held_back = (
        list(map(frame_from_dict, each)) for each in (task.frames, task.compared_only, task.held_back)
    )
    with progress.stage("align", total=len(frames), unit="frames") as advance:
        given = compared_labels(config, backbones, frames, compared_only, advance)
    if given.stop(config.align, first=task.first):
        return {"trained": False}
    replay = list(map(atoms_from_text, task.replay))
    fitting = campaign_fitting(config, backbones, given, task.level, held_back, replay, task.attempted_labels)
    candidate, record = best_candidate(fitting, progress)
    save(candidate, folder / MODEL)
    return {"trained": True, "adaptation": None if record is None else record.as_dict()}


def run(folder: Path) -> None:
    """Run the task in a folder; its result is written last."""
    progress = _ProgressFile(folder / PROGRESS)
    try:
        task = TaskFile.model_validate_json(read_task(folder)).task
        torch.set_num_threads(task.threads)
        done = explore(task, progress) if isinstance(task, ExploreTask) else train(task, folder, progress)
    except (CampaignError, CommitteeError) as error:  # another try would fail in the same way
        write_whole(folder / FAILED, sealed({"message": str(error)}))
        raise
    progress.write()
    write_whole(folder / DONE, sealed(done))


class _ProgressFile:
    """Writes the number of finished units, and the part of the work they belong to, to a file for the campaign."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part: dict[str, Any] = {}
        self._parts = 0
        self._done = 0
        self._next = 0.0

    def __call__(self, count: int) -> None:
        self._done += count
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PROGRESS_EVERY_S
            self.write()

    @contextmanager
    def stage(self, name: str, *, total: int | None = None, unit: str = "") -> Iterator[Advance]:
        """Begin a part of the work."""
        self._parts += 1
        self._part, self._done = {"part": self._parts, "name": name, "total": total, "unit": unit}, 0
        self.write()
        yield self
        self.write()

    def write(self) -> None:
        write_whole(self._path, json.dumps({"done": self._done, **self._part}))


def main() -> None:
    """Entry point of the job; it waits for an earlier job that still runs although it was counted as lost."""
    folder = Path(sys.argv[1])
    with (folder / "running.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if read_result(folder / DONE) is None:
            run(folder)


if __name__ == "__main__":
    main()
