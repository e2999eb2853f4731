"""How many labels a round may request under the budgets of the whole campaign."""

import math
from collections.abc import Callable, Sequence

from al_loop.config import Config
from al_loop.errors import GuardStop
from al_loop.records import LabelledFrame
from al_loop.stages.label.resources import label_cores


def require_held_out_budget(round_: int, frames: int, budget: Callable[[int], int]) -> None:
    """Check that the budget pays for the held-out frames of new temperatures, and for one label to train on.

    Args:
        round_: the round.
        frames: number of held-out frames.
        budget: returns how many of a number of labels the round may request.

    Raises:
        GuardStop: it does not.
    """
    affordable = budget(frames + 1)
    if affordable <= frames:
        raise GuardStop(
            f"Round {round_}: the temperatures that were added to explore.temperatures_K need {frames} held-out "
            f"labels, and the budget (stop) pays for {affordable} more. Raise it and run the same command again."
        )


def round_budget(
    config: Config,
    round_: int,
    most: int,
    requested: int,
    ended: Sequence[LabelledFrame],
    calculating: int,
    estimate_h: float,
) -> int:
    """Labels that the round may request, at least one.

    Args:
        config: the campaign.
        round_: the round.
        most: labels that it wants.
        requested: labels that were requested before, held-out ones included.
        ended: frames whose calculations have ended, failures included.
        calculating: number of requested labels that have not ended.
        estimate_h: core hours of one label by the engine's estimate, used until one has been calculated.

    Raises:
        GuardStop: a budget is too small for a single one.
    """
    left = most
    if config.stop.labels is not None:
        left = min(left, config.stop.labels - requested)
    if left < 1:
        raise GuardStop(
            f"Round {round_}: stop.labels allows {config.stop.labels} labels, and {requested} were requested "
            "already, held-out ones included. Raise it and run the same command again."
        )
    budget_h = config.stop.label_core_hours
    if budget_h is None:
        return left
    calculated = [frame for frame in ended if frame.label.cost_s > 0]  # imported labels cost nothing
    ended_h = sum(frame.label.cost_s for frame in calculated) * label_cores(config.label) / 3600
    each_h = ended_h / len(calculated) if calculated else estimate_h
    affordable = math.floor((budget_h - ended_h - calculating * each_h) / each_h)
    if affordable < 1:
        raise GuardStop(
            f"Round {round_}: stop.label_core_hours allows {budget_h:g} core hours; {len(calculated)} labels have cost "
            f"{ended_h:.2g}, {calculating} are being calculated, and another one costs about {each_h:.2g}. Raise it "
            "and run the same command again."
        )
    return min(left, affordable)
