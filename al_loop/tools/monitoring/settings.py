"""Settings of a monitor."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from al_loop.errors import InputError

ON_ALARM = ("warn", "snapshot", "stop")


@dataclass(frozen=True)
class MonitorOptions:
    """Settings of a monitor.

    Attributes:
        on_alarm: actions if a frame is not trusted: ``warn`` (in Python's log), ``snapshot`` (write the frame
            to ``snapshots``), ``stop`` (end the run once the frame is stored; implies ``snapshot``). Empty: log only.
        harvest: a campaign's config, or its folder: frames of alarms are added to its ledger, to be labelled.
        log: JSON lines, one for each check, appended; None for none.
        snapshots: extended XYZ, appended.
        patience: consecutive untrusted checks before ``stop`` acts; unphysical and discarded frames stop at
            once. A calibrated gate flags a few frames of every stable run.
        exact: compute the exact force uncertainty at every check. By default a screen accepts most frames: see
            ``committee.uncertainty.screen.ForceScreen``.
        window: checks that the screen adds up.
        seed: of the screen's probes.
        any_periodicity: accept structures that are periodic in another number of directions than the model was
            trained on.
        false_alarm_probability: of the verdict "outside the calibrated conditions", ever, in a run inside them.
        on_drift: called once with the state of the conditions (as in the summary) when they are left.

    Raises:
        InputError: an unknown action, a number below 1, or a probability that is not between 0 and 1.
    """

    on_alarm: tuple[str, ...] = ("warn", "snapshot")
    harvest: Path | None = None
    log: Path | None = Path("monitor.jsonl")
    snapshots: Path = Path("monitor-alarms.extxyz")
    patience: int = 1
    exact: bool = False
    window: int = 40
    seed: int = 0
    any_periodicity: bool = False
    false_alarm_probability: float = 0.01
    on_drift: Callable[[Mapping[str, Any]], object] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.on_alarm, str) or any(action not in ON_ALARM for action in self.on_alarm):
            received = self.on_alarm if isinstance(self.on_alarm, str) else ", ".join(map(str, self.on_alarm))
            raise InputError(f"on_alarm: received {received}, expected a list of any of {', '.join(ON_ALARM)}")
        for name, value in (("patience", self.patience), ("window", self.window)):
            if value < 1:
                raise InputError(f"{name}: received {value}, expected a number of checks, at least 1")
        if not 0 < self.false_alarm_probability < 1:
            raise InputError(
                f"false_alarm_probability: received {self.false_alarm_probability:g}, expected a number between 0 and 1"
            )

    @property
    def stores(self) -> bool:
        """Whether frames of alarms are written."""
        return bool({"snapshot", "stop"} & set(self.on_alarm)) or self.harvest is not None
