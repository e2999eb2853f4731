"""TRAIN: fit a candidate on all labels so far, here or in a job of a queue, unless they do not fit the foundation."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from al_loop.config import Config
from al_loop.errors import GuardStop
from al_loop.records import LabelledFrame, LabelledSet, Role
from al_loop.stages.queue_job import StageJob
from al_loop.stages.queue_tasks import MODEL, TaskFile, TrainTask, frame_as_dict, step_folder
from al_loop.stages.train.alignment import TANGENTS, TrainingInput, training_input
from al_loop.utils.progress import Advance, Progress
from committee.backbones.contract import Backbone
from committee.checkpoint import load
from committee.errors import CheckpointError
from committee.potential import CommitteePotential
from committee.training.train import train
from dft_interfaces.settings import StageQueueSettings

TRAIN_SEED = 6
MIN_CHECK_FRAMES = 8  # labels that suffice to detect a wrong unit, sign or order of atoms
HELD_OUT = (Role.TEST, Role.CALIBRATION, Role.NEVER_TRAINED)


def fit_candidate(
    config: Config, backbone: Backbone, given: TrainingInput, level: str, advance: Advance
) -> CommitteePotential:
    """Fit a committee; the result is reproducible."""
    return train(
        backbone,
        given.frames,
        committee=config.committee,
        training=config.train,
        cache_folder=config.folder / TANGENTS,
        seed=config.seed + TRAIN_SEED,
        level_of_theory=level,
        prior_shifts_eV=given.prior_shifts_eV,
        progress=incremental(advance),
    )


def incremental(advance: Advance) -> Callable[[int, int], None]:
    """Turn a count, which starts again with each part of the work, into increments."""
    last = 0

    def progress(done: int, _total: int) -> None:
        nonlocal last
        advance(done - last if done > last else done)
        last = done

    return progress


@dataclass(frozen=True)
class TrainInputs:
    """Inputs of the training of a candidate.

    All labels up to the round; ``first`` while only the foundation is served, ``remarks`` are earlier findings about
    the inputs.
    """

    config: Config
    backbone: Backbone
    level: str
    labels: LabelledSet
    first: bool
    round: int
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Trained:
    """Result of the training.

    There is a ``candidate``, without calibration, or a message to ``stop``, why nothing was trained and what to do.
    """

    candidate: CommitteePotential | None
    findings: tuple[str, ...]
    stop: str = ""

    @property
    def accepted(self) -> CommitteePotential:
        """The candidate.

        Raises:
            GuardStop: there is none; the message holds the reason.
        """
        if self.candidate is None:
            raise GuardStop(self.stop)
        return self.candidate


def train_candidate(inputs: TrainInputs, progress: Progress, *, again: bool = False) -> Trained:
    """Compare all labels with the foundation and fit a committee; the result is reproducible.

    With ``again`` a model that was trained before is fitted again without the check of its labels.

    Raises:
        GuardStop: there is no label to train on.
    """
    config, backbone, frames = inputs.config, inputs.backbone, inputs.labels.training
    if not frames:
        raise GuardStop(f"Round {inputs.round}: there are no labels to train on.")
    compared_only = _compared_only(inputs.labels)
    candidate = None
    if config.train.queue is not None:  # the job leaves the foundation's predictions for the check below
        with progress.stage("train", total=config.train.epochs, unit="epochs") as advance:
            candidate = _fitted_in_queue(inputs, config.train.queue, compared_only, advance)
    with progress.stage("align", unit="frames") as advance:
        given = training_input(config, backbone, frames, incremental(advance), compared_only)
    findings = (*given.findings, *inputs.remarks, *given.mismatches)
    stop = "" if again else given.stop(config.align, first=inputs.first)
    if stop:
        return Trained(None, findings, f"Round {inputs.round}: {stop}")
    if candidate is None:
        with progress.stage("train", total=config.train.epochs, unit="epochs") as advance:
            candidate = fit_candidate(config, backbone, given, inputs.level, advance)
    return Trained(candidate, findings)


def _fitted_in_queue(
    inputs: TrainInputs, queue: StageQueueSettings, compared_only: Sequence[LabelledFrame], advance: Advance
) -> CommitteePotential | None:
    """Compare the labels with the foundation and fit a committee in a job of a queue, with the same result as here.

    Returns:
        The committee without calibration; None if the labels do not fit the foundation, which the campaign's own
        check then reports.

    Raises:
        CampaignError: the queue lost every job, or the labels cannot be trained on.
    """
    config, frames = inputs.config, inputs.labels.training
    task = TrainTask(
        threads=queue.cores or config.threads,
        config=config.model_copy(update={"store": type(config.store)()}),
        level=inputs.level,
        first=inputs.first,
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
            return load(place / MODEL, inputs.backbone)
        except CheckpointError:
            if attempt:
                raise
            shutil.rmtree(place)  # lost or damaged: trained again
    raise AssertionError("unreachable")


def _compared_only(labels: LabelledSet) -> list[LabelledFrame]:
    """Held-out labels for a training set that is too small to detect a mismatch of the engine by itself."""
    held_out = [frame for frame in labels.frames if frame.converged and frame.role in HELD_OUT]
    return held_out[: max(0, MIN_CHECK_FRAMES - len(labels.training))]
