"""Whether a run is still inside the conditions that the model was calibrated in, and what its guarantee is worth."""

from dataclasses import asdict
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.tools.monitoring.settings import MonitorOptions
from al_loop.tools.monitoring.trajectory_gate import CheckedFrame, finite
from committee.potential import CommitteePotential
from committee.uncertainty.drift import DriftTest

UNCERTAINTY_SPACING = 8  # checks: with 8 members the exact uncertainty of one costs as much as the screens of these

NOT_TESTED, UNDECIDED, INSIDE, OUTSIDE = "not tested", "undecided", "inside", "outside"
REMEDY = "label a few frames of this run and calibrate on them: al-loop recalibrate"


class Conditions:
    """Compares the frames of a run with the calibration frames, and withdraws the guarantee once they differ.

    Args:
        potential: the committee.
        options: of the monitor.
    """

    def __init__(self, potential: CommitteePotential, options: MonitorOptions) -> None:
        scores = potential.calibration_scores
        self._calibration = potential.calibration
        self._exact = options.exact
        self._numbers: NDArray[np.int64] | None = None
        self._trusted_since = 0
        self._test = None
        if self._calibration is not None and scores is not None and scores.uncertainty:
            self._test = DriftTest(
                scores,
                false_alarm_probability=options.false_alarm_probability,
                uncertainty_spacing=1 if options.exact else UNCERTAINTY_SPACING,
            )

    @property
    def due(self) -> bool:
        """Whether the exact uncertainty of the next frame is wanted."""
        return self._test is not None and self._test.due

    @property
    def outside(self) -> bool:
        """Whether the run has left the calibrated conditions."""
        return self._test is not None and self._test.report.outside

    def add(self, atoms: Atoms, gated: CheckedFrame) -> bool:
        """Take a checked frame; return whether the run is found to have left the conditions, which happens once."""
        self._trusted_since += self.outside and gated.check.trusted
        prediction, calibration = gated.prediction, self._calibration
        if self._test is None or prediction is None or prediction.latent_distance is None or calibration is None:
            return False
        if self._numbers is not None and not np.array_equal(self._numbers, atoms.numbers):
            self._test.restart()
        self._numbers = atoms.numbers.copy()
        uncertainty = None
        if prediction.forces_uncertainty is not None and (self._exact or self._test.due):
            sigma, distance = prediction.atomic_force_uncertainty, prediction.latent_distance
            uncertainty = calibration.frame_uncertainty(sigma, distance)
        return self._test.add(float(prediction.latent_distance.max()), uncertainty, gated.check.step)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``confidence`` is that of the guarantee that is left, None for none."""
        calibration, test = self._calibration, self._test
        state = self._state()
        proven = calibration is not None and calibration.guarantee_proven
        values: dict[str, Any] = {
            "state": state,
            "guarantee_holds": proven and state != OUTSIDE,
            "confidence": calibration.confidence if calibration is not None and proven and state != OUTSIDE else None,
            "trusted_without_guarantee": self._trusted_since,
            "text": self._text(state),
        }
        if test is not None:
            report = asdict(test.report)
            values |= {**report, "evidence": finite(report["evidence"])}
        return values

    def _state(self) -> str:
        if self._test is None:
            return NOT_TESTED
        report = self._test.report
        return OUTSIDE if report.outside else UNDECIDED if report.stride is None else INSIDE

    def _text(self, state: str) -> str:
        if self._calibration is None:
            return "the model is not calibrated, and nothing is guaranteed"
        if self._test is None:
            return (
                "whether this run is inside the calibrated conditions is not tested: the model does not hold the "
                f"scores of its calibration frames; {REMEDY}"
            )
        report, given = self._test.report, self._calibration.summary
        odds = f"false alarms in {report.false_alarm_probability:.3g} of runs at most"
        if state == UNDECIDED:
            return f"{given}; too few frames, or too much alike, to test whether the run is inside these conditions"
        if state == INSIDE:
            return f"{given}; {report.used} uncorrelated frames of this run show no difference ({odds})"
        return (
            f"outside the calibrated conditions since about step {report.since_step} (by the {report.score}, found at "
            f"step {report.alarm_step}; {odds}): the guarantee is withdrawn, how many of the trusted frames exceed "
            f"{self._calibration.tolerance_eV_per_A:g} eV/Å is not known; {REMEDY} --since-step {report.since_step}"
        )
