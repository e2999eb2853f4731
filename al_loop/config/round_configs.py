"""The config of each round: the settings that a user may change between two runs are kept as the round began with."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from al_loop.config.settings import Config

Arrays = dict[str, NDArray[Any]]


class RoundConfigs:
    """The configs of a campaign's rounds, by number; a round that has not begun begins with the given settings.

    Args:
        given: the campaign's config of now.
        once: called with a key and a function that makes arrays; returns the arrays that were made for the key first.
    """

    def __init__(self, given: Config, once: Callable[[str, Callable[[], Arrays]], Arrays]) -> None:
        self._given, self._once = given, once
        self._known: dict[int, Config] = {}

    def __getitem__(self, round_: int) -> Config:
        """Return the config of a round."""
        if round_ not in self._known:
            stored = self._once(f"settings/{round_}", lambda: _changeable(self._given))
            self._known[round_] = _with(self._given, stored)
        return self._known[round_]


def _changeable(config: Config) -> Arrays:
    tolerance_eV_per_A = config.gate.force_tolerance_eV_per_A
    return {
        "temperatures_K": np.array(config.explore.temperatures_K),
        "force_tolerance_eV_per_A": np.array([tolerance_eV_per_A]),
    }


def _with(config: Config, stored: Arrays) -> Config:
    explore = {"temperatures_K": tuple(stored["temperatures_K"].tolist())}
    gate = {"force_tolerance_eV_per_A": stored["force_tolerance_eV_per_A"].item()}
    update = {"explore": config.explore.model_copy(update=explore), "gate": config.gate.model_copy(update=gate)}
    return config.model_copy(update=update)
