"""TRAIN: fit a candidate on all labels so far, here or in a job of a queue, unless they do not fit the foundation."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ase import Atoms

from al_loop.config import Config
from al_loop.config.settings import AdaptMode
from al_loop.errors import GuardStop
from al_loop.records import LabelledFrame, LabelledSet, Role
from al_loop.stages.queue_job import StageJob
from al_loop.stages.queue_tasks import (
    MODEL,
    TaskFile,
    TrainTask,
    atoms_as_text,
    frame_as_dict,
    kept_model,
    step_folder,
)
from al_loop.stages.train.adaptation import AdaptationRecord
from al_loop.stages.train.alignment import TANGENTS, TrainingInput, atom_shifts, training_input
from al_loop.stages.train.fitting import ADAPTATION, Backbones, Fitting, best_candidate, incremental
from al_loop.utils.progress import Advance, Progress, show_nothing
from committee.checkpoint import load
from committee.errors import CheckpointError
from committee.potential import CommitteePotential
from dft_interfaces.settings import StageQueueSettings

TRAIN_SEED = 6
MIN_CHECK_FRAMES = 8  # labels that suffice to detect a wrong unit, sign or order of atoms
REPLAY_FRAMES = 64  # explored frames that an adaptation may replay; it takes those far from the labels
HELD_OUT = (Role.TEST, Role.CALIBRATION, Role.NEVER_TRAINED)


@dataclass(frozen=True)
class TrainInputs:
    """Inputs of the training of a candidate.

    Attributes:
        config: the campaign.
        foundation: without heads and before any adaptation.
        served: the served model; its foundation may have been adapted in an earlier round.
        level: level of theory of the labels, in words.
        labels: all up to the round.
        round: the round.
        remarks: earlier findings about the inputs.
        replay: explored frames whose foundation predictions an adaptation should keep.
        attempted_labels: number of labels at the last attempt to adapt the foundation; 0 if there was none.
    """

    config: Config
    foundation: CommitteePotential
    served: CommitteePotential
    level: str
    labels: LabelledSet
    round: int
    remarks: Sequence[str] = ()
    replay: Sequence[Atoms] = ()
    attempted_labels: int = 0

    @property
    def first(self) -> bool:
        """Only the foundation is served."""
        return self.served is self.foundation

    @property
    def backbones(self) -> Backbones:
        """The foundations."""
        return Backbones(self.foundation.backbone, self.served.backbone)


@dataclass(frozen=True)
class TrainingEvent:
    """An event of a round, or of the whole campaign."""

    kind: str
    message: str
    round: int | None
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """Result of the training.

    There is a ``candidate``, without calibration, or a message to ``stop``, why nothing was trained and what to do;
    ``adaptation`` is what was decided on the foundation's weights.
    """

    candidate: CommitteePotential | None
    findings: tuple[str, ...]
    stop: str = ""
    adaptation: AdaptationRecord | None = None

    def events(self, round_: int) -> list[TrainingEvent]:
        """Events of the campaign: the findings, an adaptation, and once for all rounds that none can be judged."""
        found = [TrainingEvent("alignment", sentence, round_) for sentence in self.findings]
        made = self.adaptation
        if made is not None and made.tried:
            found.append(TrainingEvent(ADAPTATION, made.sentence, round_, made.as_dict()))
        elif made is not None and not made.frames:
            found.append(TrainingEvent(ADAPTATION, made.sentence, None))
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return findings and decision as plain JSON."""
        adaptation = None if self.adaptation is None else self.adaptation.as_dict()
        return {"alignment": list(self.findings), ADAPTATION: adaptation}

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
        FoundationError: ``train.adapt`` is ``always``, and the adaptation diverged.
    """
    config, frames = inputs.config, inputs.labels.training
    if not frames:
        raise GuardStop(f"Round {inputs.round}: there are no labels to train on.")
    compared_only, held_back = _compared_only(inputs.labels), inputs.labels.with_role(Role.CALIBRATION)
    fitted = None
    if config.train.queue is not None:  # the job leaves the foundation's predictions for the check below
        fitted = _fitted_in_queue(inputs, config.train.queue, compared_only, held_back, progress)
    with progress.stage("align", unit="frames") as advance:
        given = compared_labels(config, inputs.backbones, frames, compared_only, advance)
    findings = (*given.findings, *inputs.remarks, *given.mismatches)
    stop = "" if again else given.stop(config.align, first=inputs.first)
    if stop:
        return Trained(None, findings, f"Round {inputs.round}: {stop}")
    if fitted is None:
        fitting = campaign_fitting(
            config, inputs.backbones, given, inputs.level, held_back, inputs.replay, inputs.attempted_labels
        )
        fitted = best_candidate(fitting, progress)
    return Trained(fitted[0], findings, adaptation=fitted[1])


def with_mode(config: Config, adapt: AdaptMode) -> Config:
    """Return a campaign's config with another ``train.adapt``."""
    return config.model_copy(update={"train": config.train.model_copy(update={"adapt": adapt})})


def compared_labels(
    config: Config,
    backbones: Backbones,
    frames: Sequence[LabelledFrame],
    compared_only: Sequence[LabelledFrame],
    advance: Advance = show_nothing,
) -> TrainingInput:
    """Assemble the training set and compare it with the foundation, with tangents if heads are fitted on it."""
    tangents = config.train.adapt != "always" and not backbones.adapted
    return training_input(config, backbones.foundation, frames, incremental(advance), compared_only, tangents=tangents)


def campaign_fitting(
    config: Config,
    backbones: Backbones,
    given: TrainingInput,
    level: str,
    held_back: Sequence[LabelledFrame],
    replay: Sequence[Atoms],
    attempted_labels: int,
) -> Fitting:
    """Return the inputs of the fits of a campaign; see ``TrainInputs``."""
    return Fitting(
        backbones=backbones,
        frames=given.frames,
        prior_shifts_eV=lambda backbone: atom_shifts(config, backbone)[0],
        level=level,
        committee=config.committee,
        train=config.train,
        gate=config.gate,
        seed=config.seed + TRAIN_SEED,
        folder=config.folder / TANGENTS,
        held_back=[(frame.atoms, frame.forces_eV_per_A) for frame in held_back],
        replay=replay,
        attempted_labels=attempted_labels,
    )


def _fitted_in_queue(
    inputs: TrainInputs,
    queue: StageQueueSettings,
    compared_only: Sequence[LabelledFrame],
    held_back: Sequence[LabelledFrame],
    progress: Progress,
) -> tuple[CommitteePotential, AdaptationRecord | None] | None:
    """Compare the labels with the foundation and fit a committee in a job of a queue, with the same result as here.

    Returns:
        What ``best_candidate`` returns; None if the labels do not fit the foundation, which the campaign's own check
        then reports.

    Raises:
        CampaignError: the queue lost every job, the labels cannot be trained on, or the adaptation diverged.
    """
    config, frames = inputs.config, inputs.labels.training
    task = TrainTask(
        threads=queue.cores or config.threads,
        config=config.model_copy(update={"store": type(config.store)()}),
        level=inputs.level,
        first=inputs.first,
        frames=[frame_as_dict(frame) for frame in frames],
        compared_only=[frame_as_dict(frame) for frame in compared_only],
        held_back=[frame_as_dict(frame) for frame in held_back],
        replay=[atoms_as_text(atoms) for atoms in inputs.replay],
        served=kept_model(inputs.served, config.folder) if inputs.backbones.adapted else None,
        attempted_labels=inputs.attempted_labels,
    )
    text = TaskFile(task=task).model_dump_json()
    name = f"train-{config.name}-{len(frames)}-labels"
    for attempt in range(2):
        place = step_folder(config.folder, "train", text)
        done = StageJob(place, name, queue, task.threads).wait(progress=progress)
        if not done["trained"]:
            return None
        record = done["adaptation"]
        try:
            return load(place / MODEL, inputs.backbones.foundation), record and AdaptationRecord(**record)
        except CheckpointError:
            if attempt:
                raise
            shutil.rmtree(place)  # lost or damaged: trained again
    raise AssertionError("unreachable")


def _compared_only(labels: LabelledSet) -> list[LabelledFrame]:
    """Held-out labels for a training set that is too small to detect a mismatch of the engine by itself."""
    held_out = [frame for frame in labels.frames if frame.converged and frame.role in HELD_OUT]
    return held_out[: max(0, MIN_CHECK_FRAMES - len(labels.training))]
