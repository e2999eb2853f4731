"""Detect an engine whose units, signs or atom order changed during the campaign, and the first label affected."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from al_loop.config import Config
from al_loop.records import LabelledFrame, LabelOrigin
from al_loop.stages.train.compared_labels import compared_with
from al_loop.stages.train.outliers import MIN_LABELS, outliers_among
from al_loop.stages.train.unit_mismatch import unit_mismatches
from committee.checks.compared_labels import MIN_FRAMES
from committee.potential import CommitteePotential

EVERY = 0.8  # of the labels since a change: small forces show no mismatch
SHARE = 0.1  # of the labels since the first mismatch: fewer are single errors


@dataclass(frozen=True)
class CheckedRound:
    """Result of the check of a round's labels.

    Attributes:
        marked: frame id -> why a label of the round is excluded from further use.
        change: how the engine seems to have changed, from labels that are not excluded yet; empty if it has not.
        stop: message why the campaign must stop; empty if it may continue.
    """

    marked: Mapping[str, str]
    change: str = ""
    stop: str = ""


def check_round(
    config: Config,
    round_: int,
    frames: Sequence[LabelledFrame],
    used: Collection[str],
    made: Mapping[str, LabelOrigin],
    served: CommitteePotential,
) -> CheckedRound:
    """Compare the labels of a round with a model, without any calculation of the engine; the result is reproducible.

    ``frames`` have the converged labels of all rounds so far, outliers as they were calculated; ``used`` are the frame
    ids of earlier rounds' labels that are not marked as outliers. ``served`` was served when the round began; its
    reference shifts need not be known.
    """
    if len(frames) < MIN_LABELS:
        return CheckedRound({})
    on_unit_mismatch = config.align.on_unit_mismatch
    compared = compared_with(served, frames)
    far = outliers_among(compared, config.label.outliers)
    found = {} if on_unit_mismatch == "warn" else unit_mismatches(compared)  # the user has confirmed the labels
    mismatched = {frames[i].frame_id: mismatch for i, mismatch in found.items()}
    reasons = {frames[i].frame_id: reason for i, reason in far.items()}
    reasons |= {key: f"{mismatch}, unlike those of other labels" for key, mismatch in mismatched.items()}
    here = {frame.frame_id for frame in frames if frame.round == round_}
    marked = {key: why for key, why in reasons.items() if key in here}
    change = describe_change(mismatched, made)
    if not change or not mismatched.keys() & (here | set(used)):  # others are excluded already
        return CheckedRound(marked)
    trained = mismatched.keys() & set(used)
    ends = bool(trained) or on_unit_mismatch == "stop"
    return CheckedRound(marked, change, f"Round {round_}: {change} {remedy(len(trained))}" if ends else "")


def remedy(trained: int) -> str:
    """Return what the user can do about a change, of whose labels some were used in earlier rounds."""
    sound = "Others agree with the model as they are, so the engine has changed while the campaign ran."
    right = "or set align.on_unit_mismatch: warn if the labels are right."
    if trained:
        return (
            f"{sound} {trained} of these labels were used in earlier rounds. Fix the engine and start again "
            f"in another folder with the correct labels (`al-loop export`, `al-loop import`), {right}"
        )
    return (
        f"{sound} Nothing was trained on them. Fix the engine and run the same command with align.on_unit_mismatch: "
        f"leave_out, which continues without these labels; {right}"
    )


def describe_change(mismatched: Mapping[str, str], made: Mapping[str, LabelOrigin]) -> str:
    """Describe since which label, or by which worker, labels have a mismatch; empty for single errors.

    ``mismatched`` maps frame ids to descriptions; ``made`` has the time and worker of all labels.
    """
    order = sorted(made, key=lambda frame: (made[frame].time, frame))
    odd = [number for number, frame in enumerate(order) if frame in mismatched]
    if len(odd) < MIN_FRAMES or len(odd) < SHARE * (len(order) - odd[0]):
        return ""
    first = order[odd[0]]
    kind = _most_common([mismatched[order[number]] for number in odd])
    return f"{_which(odd, order, made)} look as if {kind}; the first of them is frame {first[:12]}{_by(made[first])}."


def _which(odd: Sequence[int], order: Sequence[str], made: Mapping[str, LabelOrigin]) -> str:
    """Describe the labels: all since one, all of one worker, or some."""
    since = len(order) - odd[0]
    workers = {made[order[number]].worker for number in odd}
    others = {made[frame].worker for frame in order} - workers
    if len(odd) >= EVERY * since:
        labels = f"all {since} labels" if len(odd) == since else f"{len(odd)} of the {since} labels"
    elif len(workers) == 1 and others:
        labels = f"{len(odd)} labels of {workers.pop().rpartition('/')[2] or 'an import'}"
    else:
        labels = f"{len(odd)} of the {since} labels"
    return f"{labels} from label #{odd[0] + 1} on (of {len(order)}, in the order of calculation)"


def _by(made: LabelOrigin) -> str:
    who = f" by {made.worker.rpartition('/')[2]}" if made.worker else ", imported"
    return f", finished {made.time:%Y-%m-%d %H:%M:%S}{who}"


def _most_common(descriptions: Sequence[str]) -> str:
    return max(dict.fromkeys(descriptions), key=list(descriptions).count)
