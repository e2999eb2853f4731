"""Batches of a round: while the labels of one batch are calculated, the next one is explored."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from al_loop.config import Config
from al_loop.structures.systems import structure_count

EXPLORE, SELECT = "explore", "select"
FEWEST_TRAJECTORIES, FEWEST_LABELS, MOST_BATCHES = 2, 4, 4
BATCH_SEED = 11

S = TypeVar("S")


def batch_count(config: Config) -> int:
    """Number of batches of each round, never more than it has trajectories."""
    explore = config.explore
    trajectories = explore.replicas * sum(
        structure_count(system)
        * len(system.variants)
        * len(system.strains)
        * (1 if (system.ensemble or explore.ensemble) == "relax" else len(explore.temperatures_K))
        for system in config.systems
    )
    if explore.batches is not None:
        return min(explore.batches, trajectories)
    fitting = min(trajectories // FEWEST_TRAJECTORIES, config.select.labels_per_round // FEWEST_LABELS)
    return max(1, min(fitting, MOST_BATCHES))


def stage_name(stage: str, batch: int) -> str:
    """``explore``, ``explore-2``, ``explore-3``, the same for ``select``."""
    return f"{stage}-{batch + 1}" if batch else stage


def stage_of(name: str) -> str:
    """The inverse of ``stage_name``, without the batch."""
    return name.partition("-")[0]


def batch_starts(config: Config, starts: Sequence[S], round_: int, batch: int) -> list[S]:
    """The starts of a batch; replicas of one condition are spread evenly over all batches."""
    rng = np.random.default_rng([config.seed, BATCH_SEED, round_])
    chance = rng.permutation(len(starts))
    replicas = config.explore.replicas
    order = sorted(range(len(starts)), key=lambda index: (index % replicas, chance[index]))
    return [starts[index] for index in sorted(np.array_split(order, batch_count(config))[batch])]


class FinishedBatches:
    """Results of the finished batches of a round.

    Only those before batch ``before`` count; all by default.
    """

    def __init__(self, stages: Mapping[str, Mapping[str, Any]], before: int | None = None) -> None:
        numbers = range(MOST_BATCHES + len(stages)) if before is None else range(before)
        self._begun = stages.get(EXPLORE, {})
        self._explored = [stages[name] for name in (stage_name(EXPLORE, n) for n in numbers) if name in stages]
        self._selected = [stages[name] for name in (stage_name(SELECT, n) for n in numbers) if name in stages]

    @property
    def explored(self) -> int:
        """Number of gated frames."""
        return sum(int(results["frames"]) for results in self._explored)

    @property
    def budget(self) -> int | None:
        """Labels that the whole round may request, fixed by its first selection; None before that."""
        return int(self._selected[0]["budget"]) if self._selected else None

    @property
    def selected(self) -> int:
        """Number of requested labels."""
        return sum(int(results["selected"]) for results in self._selected)

    @property
    def spent(self) -> Counter[str]:
        """Reason -> number of requested labels."""
        spent: Counter[str] = Counter()
        for results in self._selected:
            spent.update(results["reasons"])
        return spent

    @property
    def requested(self) -> list[str]:
        """Ids of the round's frames whose labels were requested, those from outside the rounds included."""
        chosen = [frame for results in self._selected for frame in results["frames"]]
        return [*self._begun.get("asked_before", ()), *chosen]
