"""How many labels a round may ask for under the budgets of the whole campaign."""

from al_loop.config import Config
from al_loop.errors import GuardStop
from al_loop.label_cost import label_cores
from al_loop.ledger import Ledger
from al_loop.promote.stopping import labels_affordable, labels_left
from al_loop.records import LabelledFrame, Role


def round_budget(config: Config, ledger: Ledger, round_: int, asked_for: int, estimate_h: float) -> int:
    """Labels that the round may ask for, at least one.

    Args:
        config: the campaign.
        ledger: knows what labels have cost, and how many are still being calculated.
        round_: the round.
        asked_for: labels that were asked for before, held-out ones included.
        estimate_h: core hours of one label by the engine's estimate, which counts until one has been calculated.

    Raises:
        GuardStop: a budget does not pay for a single one.
    """
    left = labels_left(config.stop.labels, config.select.labels_per_round, asked_for)
    if left < 1:
        raise GuardStop(
            f"Round {round_}: stop.labels allows {config.stop.labels} labels, and {asked_for} were asked for "
            "already, held-out ones included. Raise it and run the same command again."
        )
    budget_h = config.stop.label_core_hours
    return left if budget_h is None else min(left, _affordable(config, ledger, round_, budget_h, estimate_h))


def _affordable(config: Config, ledger: Ledger, round_: int, budget_h: float, estimate_h: float) -> int:
    known, calculating = _ended_and_calculating(ledger, round_)
    ended = [frame for frame in known if frame.label.cost_s > 0]  # imported labels cost nothing
    ended_h = sum(frame.label.cost_s for frame in ended) * label_cores(config.label) / 3600
    each_h = ended_h / len(ended) if ended else estimate_h
    affordable = labels_affordable(budget_h, ended_h + calculating * each_h, each_h)
    if affordable < 1:
        raise GuardStop(
            f"Round {round_}: stop.label_core_hours allows {budget_h:g} core hours; {len(ended)} labels have cost "
            f"{ended_h:.2g}, {calculating} are being calculated, and another one costs about {each_h:.2g}. Raise it "
            "and run the same command again."
        )
    return affordable


def _ended_and_calculating(ledger: Ledger, round_: int) -> tuple[list[LabelledFrame], int]:
    """Labels that have ended and the number of those that have not, at one moment: workers go on meanwhile."""
    while True:
        calculating = ledger.open_requests()
        known = ledger.labelled(tuple(Role), tuple(range(round_ + 1)), converged_only=False)
        if ledger.open_requests() == calculating:  # nobody but the caller asks for more
            return known, calculating
