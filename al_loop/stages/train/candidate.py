"""TRAIN: fit a candidate on all labels so far, unless they do not fit the foundation."""

from collections.abc import Sequence
from dataclasses import dataclass

from al_loop.config import Config
from al_loop.errors import GuardStop
from al_loop.records import LabelledFrame, LabelledSet, Role
from al_loop.stages.train.alignment import training_input
from al_loop.stages.train.dispatch import fitted_in_queue
from al_loop.stages.train.fit import fit_candidate, incremental
from al_loop.utils.progress import Progress
from committee.backbones.contract import Backbone
from committee.potential import CommitteePotential

MIN_CHECK_FRAMES = 8  # labels that suffice to detect a wrong unit, sign or order of atoms
HELD_OUT = (Role.TEST, Role.CALIBRATION, Role.NEVER_TRAINED)


@dataclass(frozen=True)
class TrainInputs:
    """Inputs of the training of a candidate.

    Attributes:
        config: the campaign, with an absolute folder.
        backbone: the foundation.
        level: description of the level of theory.
        labels: all labels up to the round.
        first: only the foundation is served so far.
        round: the round that trains.
        remarks: earlier findings about the inputs.
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

    Attributes:
        candidate: without calibration; None if the labels do not fit the foundation.
        findings: how labels and foundation agree, in sentences.
        stop: message why nothing was trained and what to do; empty if there is a candidate.
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

    Args:
        inputs: campaign, foundation and labels.
        progress: shows the progress.
        again: a model that was trained before is fitted again without the check of its labels.

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
            candidate = fitted_in_queue(
                config, backbone, inputs.level, frames, compared_only, advance, first=inputs.first
            )
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


def _compared_only(labels: LabelledSet) -> list[LabelledFrame]:
    """Held-out labels for a training set that is too small to detect a mismatch of the engine by itself."""
    held_out = [frame for frame in labels.frames if frame.converged and frame.role in HELD_OUT]
    return held_out[: max(0, MIN_CHECK_FRAMES - len(labels.training))]
