"""Count and log the checks of a run or file, and act on alarms."""

from collections.abc import Callable
from typing import Any

from ase import Atoms

from al_loop.gate.physics import PhysicsCheck
from al_loop.tools.monitoring.alarms import Alarms
from al_loop.tools.monitoring.conditions import Conditions
from al_loop.tools.monitoring.predictions import FramePredictions
from al_loop.tools.monitoring.settings import MonitorOptions
from al_loop.tools.monitoring.summary import Summary
from al_loop.tools.monitoring.trajectory_gate import CheckedFrame, FrameContext, TrajectoryGate
from al_loop.utils.event_log import EventLog
from committee.potential import CommitteePotential
from committee.uncertainty.screen import ForceScreen


class MonitoringSession:
    """The part common to monitored dynamics and monitored files.

    Args:
        potential: the committee; ``calibrated`` tells whether its force uncertainties are.
        options: what to do.
        name: of what is monitored, for the campaign that frames are harvested for.

    Raises:
        InputError: no campaign to harvest for.
    """

    def __init__(self, potential: CommitteePotential, options: MonitorOptions, name: str) -> None:
        self._calibration = potential.calibration
        self.calibrated = self._calibration is not None and self._calibration.trust_threshold is not None
        screen = None
        if self.calibrated and not options.exact:
            screen = ForceScreen.from_calibration(self._calibration, window=options.window, seed=options.seed)
        self.predictions = FramePredictions(potential, screen, exact=self.calibrated)
        self.summary = Summary()
        self.conditions = Conditions(potential, options)
        self.alarms = Alarms(options, name)
        self._log = None if options.log is None else EventLog(options.log)
        self._on_drift = options.on_drift
        self._logged_checks = 0
        self._gate: TrajectoryGate | None = None
        self._system: tuple[list[int], list[bool]] = [], []

    def begin(self, **about: Any) -> None:
        """Log what is monitored."""
        if self._log is not None:
            self._log.write("monitor", **about, calibrated=self.calibrated)

    def gate(self, atoms: Atoms, new_check: Callable[[], PhysicsCheck]) -> TrajectoryGate:
        """The gate of this trajectory; a new one with a new physics check, where atoms or periodicity change."""
        system = atoms.numbers.tolist(), atoms.pbc.tolist()
        if self._gate is None or system != self._system:
            self._gate, self._system = TrajectoryGate(self._calibration, new_check()), system
            self.predictions.restart()
        return self._gate

    def check(self, gate: TrajectoryGate, atoms: Atoms, context: FrameContext) -> None:
        """Check a frame.

        Raises:
            MonitorStop: an alarm that the options let end the run.
        """
        gated = gate.evaluate(atoms, context, self.predictions.predictor(atoms, confirmed=self.conditions.due))
        left = self.conditions.add(atoms, gated)
        self.summary.add(gated.check, list(atoms.symbols), gated.uncertainty_ratio)
        if self._log is not None:
            self._log.write("check", **gated.check.as_dict())
        if left:
            self._report_left(atoms, gated)
        if gated.check.alarm:
            self.alarms.act(atoms, gated, self.summary)

    def _report_left(self, atoms: Atoms, gated: CheckedFrame) -> None:
        """Log that the calibrated conditions are left, call back, and act as for an alarm."""
        state = self.conditions.as_dict()
        if self._log is not None:
            self._log.write("conditions", **state)
        if self._on_drift is not None:
            self._on_drift(state)
        self.alarms.act_on_drift(atoms, gated, str(state["text"]))

    def log_summary(self) -> dict[str, Any]:
        """Return the summary so far, and log it unless the log ends with it."""
        summary = self.as_dict()
        if self._log is not None and self._logged_checks != self.summary.checks:
            self._log.write("summary", **summary)
        self._logged_checks = self.summary.checks
        return summary

    def close(self) -> dict[str, Any]:
        """Harvest the collected frames; log and return the summary."""
        self.alarms.close()
        return self.log_summary()

    def as_dict(self) -> dict[str, Any]:
        """The summary so far."""
        own = {"conditions": self.conditions.as_dict(), "own_evaluations": self.predictions.evaluations}
        return {**self.summary.as_dict(), **own, **self.alarms.counts}
