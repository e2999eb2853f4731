"""Estimate the cost of a campaign's labels with the engine."""

from dataclasses import dataclass

from al_loop.config import Config
from al_loop.structures.systems import all_structures, structure_count
from al_loop.tools.preflight.checks import systems_with_paths
from dft_interfaces.engine import DFTEngine


@dataclass(frozen=True)
class LabelCost:
    """An order of magnitude, before anything runs.

    Attributes:
        seconds: wall time of one label of each structure, s, by its name.
        labels: at most so many: held out once, and the budget of every round.
        time_limit_s: of one calculation.
        cores: of one calculation.
    """

    seconds: dict[str, float]
    labels: int
    time_limit_s: float
    cores: int

    @property
    def core_hours_each(self) -> float:
        """Of one label, if it costs what the mean structure does."""
        return sum(self.seconds.values()) / len(self.seconds) * self.cores / 3600

    @property
    def core_hours(self) -> float:
        """Of all labels."""
        return self.labels * self.core_hours_each

    @property
    def too_long(self) -> list[str]:
        """Structures whose estimate is beyond the time limit."""
        return [name for name, seconds in self.seconds.items() if seconds > self.time_limit_s]

    def __str__(self) -> str:
        each = ", ".join(f"{name} {_rounded(seconds)}" for name, seconds in self.seconds.items())
        text = f"about {each} each; at most {self.labels} labels, about {self.core_hours:.2g} core hours"
        if self.too_long:
            text += (
                f". Beyond label.limits.time_s ({self.time_limit_s:g} s): {', '.join(self.too_long)}; raise the limit, "
                "or use a smaller cell or cheaper settings"
            )
        return text


def label_cost(config: Config, engine: DFTEngine) -> LabelCost:
    """Estimate what a campaign's labels cost.

    Args:
        config: as ``load_config`` returns it (structure paths absolute).
        engine: the one that the config describes.
    """
    held = config.hold_out
    structures = all_structures([system for _, system in systems_with_paths(config)])
    never_trained = held.never_trained_frames * sum(map(structure_count, held.never_trained))
    held_out = held.test_frames + held.calibration_frames + never_trained
    asked_for = held_out + config.rounds * config.select.labels_per_round
    return LabelCost(
        seconds={structure.name: engine.estimate_s(structure.atoms) for structure in structures},
        labels=asked_for if config.stop.labels is None else min(asked_for, config.stop.labels),
        time_limit_s=config.label.limits.time_s,
        cores=engine.cores,
    )


def _rounded(seconds: float) -> str:
    """Return a number with one or two digits, the precision of an estimate."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1g} s" if seconds < 1 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004 - an hour
