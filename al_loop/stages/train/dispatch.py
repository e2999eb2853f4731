"""TRAIN in a job of a queue, with the same result as in the campaign's process."""

import shutil
from collections.abc import Sequence

from al_loop.config import Config
from al_loop.records import LabelledFrame
from al_loop.stages.queue_job import StageJob
from al_loop.stages.queue_tasks import MODEL, TaskFile, TrainTask, frame_as_dict, step_folder
from al_loop.utils.progress import Advance, show_nothing
from committee.backbones.contract import Backbone
from committee.checkpoint import load
from committee.errors import CheckpointError
from committee.potential import CommitteePotential


def fitted_in_queue(
    config: Config,
    backbone: Backbone,
    level: str,
    frames: Sequence[LabelledFrame],
    compared_only: Sequence[LabelledFrame],
    advance: Advance = show_nothing,
    *,
    first: bool,
) -> CommitteePotential | None:
    """Compare the labels with the foundation and fit a committee, as ``fit_candidate`` does, in a job of a queue.

    Args:
        config: the campaign, with an absolute folder and a ``train.queue``.
        backbone: the foundation.
        level: description of the level of theory.
        frames: the labels.
        compared_only: labels that are compared with the foundation and not trained on.
        advance: called with the number of epochs done.
        first: no committee was trained before.

    Returns:
        The committee without calibration; None if the labels do not fit the foundation, which the campaign's own
        check then reports.

    Raises:
        CampaignError: the queue lost every job, or the labels cannot be trained on.
    """
    queue = config.train.queue
    if queue is None:
        raise ValueError("expected train.queue, received none")
    task = TrainTask(
        threads=queue.cores or config.threads,
        config=config.model_copy(update={"store": type(config.store)()}),
        level=level,
        first=first,
        frames=[frame_as_dict(frame) for frame in frames],
        compared_only=[frame_as_dict(frame) for frame in compared_only],
    )
    text = TaskFile(task=task).model_dump_json()
    name = f"train-{config.name}-{len(frames)}-labels"
    for attempt in range(2):
        place = step_folder(config.folder, "train", text)
        done = StageJob(place, name, queue, task.threads).wait(advance)
        if not done["trained"]:
            return None
        try:
            return load(place / MODEL, backbone)
        except CheckpointError:
            if attempt:
                raise
            shutil.rmtree(place)  # lost or damaged: trained again
    raise AssertionError("unreachable")
