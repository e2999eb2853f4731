"""Count and log the checks of a run or file, and act on alarms."""

from typing import Any

from ase import Atoms

from al_loop.tools.monitoring.alarms import Alarms
from al_loop.tools.monitoring.calculator_source import Answers
from al_loop.tools.monitoring.conditions import Conditions
from al_loop.tools.monitoring.harvester import Harvester
from al_loop.tools.monitoring.settings import MonitorOptions
from al_loop.tools.monitoring.summary import Summary
from al_loop.tools.monitoring.trajectory_gate import FrameContext, GatedPrediction, TrajectoryGate
from al_loop.utils.event_log import EventLog
from committee.potential import CommitteePotential
from committee.uncertainty.screen import ForceScreen


class MonitoringSession:
    """The part common to monitored dynamics and monitored files.

    Args:
        potential: the committee.
        options: what to do.
        name: of what is monitored, for the campaign that frames are harvested for.

    Attributes:
        calibrated: whether force uncertainties are calibrated.
        answers: the committee's predictions.
        summary: of the checks so far.
        conditions: whether the frames come from the calibrated conditions.

    Raises:
        InputError: no campaign to harvest for.
    """

    def __init__(self, potential: CommitteePotential, options: MonitorOptions, name: str) -> None:
        calibration = potential.calibration
        self.calibrated = calibration is not None and calibration.trust_threshold is not None
        screen = None
        if self.calibrated and not options.exact:
            screen = ForceScreen.from_calibration(calibration, window=options.window, seed=options.seed)
        self.answers = Answers(potential, screen, exact=self.calibrated)
        self.summary = Summary()
        self.conditions = Conditions(potential, options)
        self._harvester = None if options.harvest is None else Harvester(options.harvest, name)
        self._alarms = Alarms(options, self._harvester)
        self._log = None if options.log is None else EventLog(options.log)
        self._on_drift = options.on_drift
        self._logged_checks = 0

    @property
    def stored(self) -> int:
        """Number of frames written to ``options.snapshots``."""
        return self._alarms.stored

    def begin(self, **about: Any) -> None:
        """Log what is monitored."""
        if self._log is not None:
            self._log.write("monitor", **about, calibrated=self.calibrated)

    def check(self, judge: TrajectoryGate, atoms: Atoms, moment: FrameContext) -> None:
        """Check a frame.

        Raises:
            MonitorStop: an alarm that the options let end the run.
        """
        judged = judge.judge(atoms, moment, self.answers.ask(atoms, confirmed=self.conditions.due))
        left = self.conditions.add(atoms, judged)
        self.summary.add(judged.check, list(atoms.symbols), judged.uncertainty_ratio)
        if self._log is not None:
            self._log.write("check", **judged.check.as_dict())
        if left:
            self._tell_left(atoms, judged)
        if judged.check.alarm:
            self._alarms.act(atoms, judged, self.summary)

    def _tell_left(self, atoms: Atoms, judged: GatedPrediction) -> None:
        """Log that the calibrated conditions are left, call back, and act as for an alarm."""
        state = self.conditions.as_dict()
        if self._log is not None:
            self._log.write("conditions", **state)
        if self._on_drift is not None:
            self._on_drift(state)
        self._alarms.act_on_drift(atoms, judged, str(state["text"]))

    def log_summary(self) -> dict[str, Any]:
        """Return the summary so far, and log it unless the log ends with it."""
        told = self.as_dict()
        if self._log is not None and self._logged_checks != self.summary.checks:
            self._log.write("summary", **told)
        self._logged_checks = self.summary.checks
        return told

    def close(self) -> dict[str, Any]:
        """Harvest the collected frames; log and return the summary."""
        self._alarms.close()
        return self.log_summary()

    def as_dict(self) -> dict[str, Any]:
        """The summary so far."""
        own = {"own_evaluations": self.answers.evaluations, "stored": self.stored}
        handed = {} if self._harvester is None else {"handed_over": self._harvester.handed}
        return {**self.summary.as_dict(), "conditions": self.conditions.as_dict(), **own, **handed}
