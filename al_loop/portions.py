"""A round explores in portions: while the labels of one are calculated, the next one is explored."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from al_loop.config import Config
from al_loop.explore.starts import Start
from al_loop.explore.systems import structure_count
from al_loop.ledger import Ledger
from al_loop.select.allowance import Allowance

EXPLORE, SELECT = "explore", "select"
FEWEST_TRAJECTORIES, FEWEST_LABELS, MOST_PORTIONS = 2, 4, 4
PORTION_SEED = 11


def portion_count(config: Config) -> int:
    """In how many portions each round explores, never more than it has trajectories."""
    explore = config.explore
    trajectories = explore.replicas * sum(
        structure_count(system)
        * len(system.variants)
        * len(system.strains)
        * (1 if (system.ensemble or explore.ensemble) == "relax" else len(explore.temperatures_K))
        for system in config.systems
    )
    if explore.portions is not None:
        return min(explore.portions, trajectories)
    fitting = min(trajectories // FEWEST_TRAJECTORIES, config.select.labels_per_round // FEWEST_LABELS)
    return max(1, min(fitting, MOST_PORTIONS))


def stage_name(stage: str, portion: int) -> str:
    """``explore``, ``explore-2``, ``explore-3``, the same for ``select``."""
    return f"{stage}-{portion + 1}" if portion else stage


def stage_of(name: str) -> str:
    """The inverse of ``stage_name``, without the portion."""
    return name.partition("-")[0]


class Portions:
    """Which trajectories and labels each portion of a round has, from what the portions before it have noted.

    Args:
        config: the campaign.
        ledger: where stages note what they came to.

    Attributes:
        count: how many portions each round has.
    """

    def __init__(self, config: Config, ledger: Ledger) -> None:
        self.count = portion_count(config)
        self._config = config
        self._ledger = ledger

    def starts(self, starts: Sequence[Start], round_: int, portion: int) -> list[Start]:
        """The starts of a portion: replicas of one condition are spread over all portions as evenly as can be."""
        rng = np.random.default_rng([self._config.seed, PORTION_SEED, round_])
        chance = rng.permutation(len(starts))
        replicas = self._config.explore.replicas
        order = sorted(range(len(starts)), key=lambda index: (index % replicas, chance[index]))
        return [starts[index] for index in sorted(np.array_split(order, self.count)[portion])]

    def done(self, stage: str, round_: int, before: int | None = None) -> list[dict[str, Any]]:
        """What the portions of a round came to, those before one or all."""
        names = [stage_name(stage, portion) for portion in range(self.count if before is None else before)]
        stages = self._ledger.stages(round_)
        return [stages[name]["results"] for name in names if name in stages]

    def in_one(self, round_: int) -> bool:
        """Whether an earlier release explored and chose the whole round at once."""
        return any("frames" not in results for results in self.done(SELECT, round_, before=1))

    def explored(self, round_: int, before: int) -> int:
        """How many frames the portions before this one have met."""
        return sum(int(results["frames"]) for results in self.done(EXPLORE, round_, before))

    def selected(self, round_: int, before: int | None = None) -> int:
        """How many labels a round has asked for, those of exploration."""
        return sum(int(results.get("selected", 0)) for results in self.done(SELECT, round_, before))

    def asked_before(self, round_: int, portion: int) -> list[str]:
        """Frames of this round that are asked for, or labelled, when a portion chooses."""
        begun = self.done(EXPLORE, round_, before=1)
        chosen = [frame for results in self.done(SELECT, round_, before=portion) for frame in results["frames"]]
        return [*(frame for results in begun for frame in results.get("asked_before", ())), *chosen]

    def allowance(self, round_: int, portion: int, budget: int) -> Allowance:
        """What a portion may spend: its share, and what the portions before it have left.

        Args:
            round_: the round.
            portion: number of the portion, from 0.
            budget: labels of the whole round.
        """
        spent: Counter[str] = Counter()
        for results in self.done(SELECT, round_, before=portion):
            spent.update(results["reasons"])
        new = self._ledger.met(round_, after=self.explored(round_, portion)) if portion else None
        return Allowance.of(self._config.select, budget, spent, portion, self.count, new)
