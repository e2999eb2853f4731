"""The cost of the labels of each round, and the reasons of failed ones."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from al_loop.records import LabelledFrame
from al_loop.stages.label.quarantine import failure_kind


@dataclass(frozen=True)
class LabelCosts:
    """Calculations of one round that have ended.

    Attributes:
        round: the round.
        calculations: how many, failures included.
        total_s: wall time of all, s.
        median_s: of one, s.
        longest_s: of one, s.
        failed_s: wall time of those that gave no label, s.
        failures: kind of failure -> how many.
    """

    round: int
    calculations: int
    total_s: float
    median_s: float
    longest_s: float
    failed_s: float
    failures: dict[str, int]


def label_costs(ended: Sequence[LabelledFrame]) -> list[LabelCosts]:
    """Return the costs by round, in order."""
    return [
        _of([frame for frame in ended if frame.round == round_], round_) for round_ in sorted({f.round for f in ended})
    ]


def _of(frames: Sequence[LabelledFrame], round_: int) -> LabelCosts:
    costs = [frame.label.cost_s for frame in frames]
    failed = [frame for frame in frames if not frame.converged]
    return LabelCosts(
        round=round_,
        calculations=len(frames),
        total_s=sum(costs),
        median_s=median(costs),
        longest_s=max(costs),
        failed_s=sum(frame.label.cost_s for frame in failed),
        failures=dict(Counter(str(failure_kind(frame)) for frame in failed)),
    )
