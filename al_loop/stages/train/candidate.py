"""TRAIN: a candidate from all labels so far, unless they do not fit the foundation."""

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

MIN_CHECK_FRAMES = 8  # labels that show a slip of unit, sign or order
HELD_OUT = (Role.TEST, Role.CALIBRATION, Role.NEVER_TRAINED)


@dataclass(frozen=True)
class TrainInputs:
    """What a candidate is made from.

    Attributes:
        config: the campaign, with an absolute folder.
        backbone: the foundation.
        level: the level of theory in words.
        labels: all up to the round.
        first: nothing is served yet but the foundation.
        round: the round that makes it.
        remarks: what was found about the inputs before.
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
    """What came of it.

    Attributes:
        candidate: without calibration; None where the labels do not fit the foundation.
        findings: how labels and foundation agree, in sentences.
        stop: why nothing was trained and what to do; empty if there is a candidate.
    """

    candidate: CommitteePotential | None
    findings: tuple[str, ...]
    stop: str = ""

    @property
    def accepted(self) -> CommitteePotential:
        """The candidate.

        Raises:
            GuardStop: there is none, and why.
        """
        if self.candidate is None:
            raise GuardStop(self.stop)
        return self.candidate


def train_candidate(inputs: TrainInputs, progress: Progress, *, again: bool = False) -> Trained:
    """Compare all labels with the foundation and fit a committee; the same whenever it is asked for.

    Args:
        inputs: what it is made from.
        progress: shows how far it is.
        again: a model that was trained before is made once more, whatever its labels look like.

    Raises:
        GuardStop: there is no label to train on.
    """
    config, backbone, frames = inputs.config, inputs.backbone, inputs.labels.training
    if not frames:
        raise GuardStop(f"Round {inputs.round}: there is not a single label to train on.")
    compared_only = _compared_only(inputs.labels)
    candidate = None
    if config.train.queue is not None:  # the check finds there what the foundation says of the labels
        with progress.stage("train", total=config.train.epochs, unit="epochs") as advance:
            candidate = fitted_in_queue(
                config, backbone, inputs.level, frames, compared_only, advance, first=inputs.first
            )
    with progress.stage("align", unit="frames") as advance:
        given = training_input(config, backbone, frames, incremental(advance), compared_only)
    findings = (*given.findings, *inputs.remarks, *given.slips)
    stop = "" if again else given.stop(config.align, first=inputs.first)
    if stop:
        return Trained(None, findings, f"Round {inputs.round}: {stop}")
    if candidate is None:
        with progress.stage("train", total=config.train.epochs, unit="epochs") as advance:
            candidate = fit_candidate(config, backbone, given, inputs.level, advance)
    return Trained(candidate, findings)


def _compared_only(labels: LabelledSet) -> list[LabelledFrame]:
    """Held-out labels for a training set too small to show a slip of the engine by itself."""
    held_out = [frame for frame in labels.frames if frame.converged and frame.role in HELD_OUT]
    return held_out[: max(0, MIN_CHECK_FRAMES - len(labels.training))]
