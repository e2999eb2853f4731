"""An engine whose numbers changed their meaning while the campaign ran: found, dated by the order of calculation."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from al_loop.config import Config, OutlierSettings
from al_loop.records import LabelledFrame, Made
from al_loop.stages.train.compared_labels import compared_with
from al_loop.stages.train.outliers import MIN_LABELS, outliers_among
from al_loop.stages.train.unit_mismatch import slips
from committee.checks.unit_mismatch import MIN_FRAMES
from committee.potential import CommitteePotential

EVERY = 0.8  # of the labels since a change: what has no telling forces looks like nothing
SHARE = 0.1  # of the labels since the first one: fewer are single accidents


@dataclass(frozen=True)
class JudgedLabels:
    """What is wrong with the labels so far, as one model sees them.

    Attributes:
        reasons: frame id -> why its label is not believed.
        change: how the engine seems to have changed, in one sentence; empty if it does not.
        slipped: ids of the frames whose labels look slipped.
    """

    reasons: Mapping[str, str]
    change: str = ""
    slipped: frozenset[str] = frozenset()

    def remedy(self, used: Collection[str]) -> str:
        """Say what to do about a change.

        Args:
            used: frame ids of earlier rounds' labels that are not marked as outliers.
        """
        sound = "Others agree with the model as they are, so the engine has changed while the campaign ran."
        right = "or set align.on_slip: warn if the labels are right."
        if trained := self.slipped & set(used):
            return (
                f"{sound} {len(trained)} of these labels were used in earlier rounds. Mend the engine and start anew "
                f"in another folder with the sound labels (`al-loop export`, `al-loop import`), {right}"
            )
        return (
            f"{sound} Nothing was trained on them. Mend the engine and run the same command with align.on_slip: "
            f"leave_out, which goes on without these labels; {right}"
        )


def judged_labels(
    frames: Sequence[LabelledFrame],
    served: CommitteePotential,
    settings: OutlierSettings,
    made: Mapping[str, Made],
    *,
    accuse: bool = True,
) -> JudgedLabels:
    """Compare labels with a model, which costs no calculation of the engine.

    Args:
        frames: converged labels of all rounds so far, outliers as they were calculated.
        served: the model; its reference shifts need not be known.
        settings: what counts as an outlier.
        made: frame id -> when and by whom its label was made.
        accuse: look for slips; without it a user has said that the labels are right.
    """
    if len(frames) < MIN_LABELS:
        return JudgedLabels({})
    compared = compared_with(served, frames)
    far = outliers_among(compared, settings)
    slipped = slips(compared) if accuse else {}
    reasons = {frames[i].frame_id: far[i] for i in far}
    reasons |= {frames[i].frame_id: f"{words}, unlike those of other labels" for i, words in slipped.items()}
    named = {frames[i].frame_id: words for i, words in slipped.items()}
    return JudgedLabels(reasons, change_in_words(named, made), frozenset(named))


@dataclass(frozen=True)
class JudgedRound:
    """What follows for a round from its labels.

    Attributes:
        marked: frame id -> why a label of the round is kept from every later use.
        change: how the engine seems to have changed, as labels that are not left out yet show; empty if it does not.
        stop: why the campaign must not go on; empty if it may.
    """

    marked: Mapping[str, str]
    change: str = ""
    stop: str = ""


def judged_round(
    config: Config,
    round_: int,
    frames: Sequence[LabelledFrame],
    used: Collection[str],
    made: Mapping[str, Made],
    served: CommitteePotential,
) -> JudgedRound:
    """Judge the labels of a round; the same whenever it is asked for.

    Args:
        config: the campaign.
        round_: the round.
        frames: converged labels of all rounds so far, outliers as they were calculated.
        used: frame ids of earlier rounds' labels that are not marked as outliers.
        made: frame id -> when and by whom its label was made.
        served: the model that was served when the round began.
    """
    on_slip = config.align.on_slip
    judged = judged_labels(frames, served, config.label.outliers, made, accuse=on_slip != "warn")
    here = {frame.frame_id for frame in frames if frame.round == round_}
    marked = {key: why for key, why in judged.reasons.items() if key in here}
    if not judged.change or not judged.slipped & (here | set(used)):  # those of earlier rounds are left out already
        return JudgedRound(marked)
    ends = bool(judged.slipped & set(used)) or on_slip == "stop"
    stop = f"Round {round_}: {judged.change} {judged.remedy(used)}" if ends else ""
    return JudgedRound(marked, judged.change, stop)


def change_in_words(slipped: Mapping[str, str], made: Mapping[str, Made]) -> str:
    """Say from which label on, or by which worker, labels look slipped; empty for single accidents.

    Args:
        slipped: frame id -> what its label looks like.
        made: frame id -> when and by whom its label was made, for all labels.
    """
    order = sorted(made, key=lambda frame: (made[frame].time, frame))
    odd = [number for number, frame in enumerate(order) if frame in slipped]
    if len(odd) < MIN_FRAMES or len(odd) < SHARE * (len(order) - odd[0]):
        return ""
    first = order[odd[0]]
    words = _most_common([slipped[order[number]] for number in odd])
    return f"{_which(odd, order, made)} look as if {words}; the first of them is frame {first[:12]}{_by(made[first])}."


def _which(odd: Sequence[int], order: Sequence[str], made: Mapping[str, Made]) -> str:
    """Which labels they are: all since one, all of one worker, or some."""
    since = len(order) - odd[0]
    workers = {made[order[number]].worker for number in odd}
    others = {made[frame].worker for frame in order} - workers
    if len(odd) >= EVERY * since:
        said = f"all {since} labels" if len(odd) == since else f"{len(odd)} of the {since} labels"
    elif len(workers) == 1 and others:
        said = f"{len(odd)} labels of {workers.pop().rpartition('/')[2] or 'an import'}"
    else:
        said = f"{len(odd)} of the {since} labels"
    return f"{said} from label #{odd[0] + 1} on (of {len(order)}, in the order of calculation)"


def _by(made: Made) -> str:
    who = f" by {made.worker.rpartition('/')[2]}" if made.worker else ", imported"
    return f", finished {made.time:%Y-%m-%d %H:%M:%S}{who}"


def _most_common(words: Sequence[str]) -> str:
    return max(dict.fromkeys(words), key=list(words).count)
