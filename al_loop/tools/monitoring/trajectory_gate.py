"""The gate for one trajectory: the physics check first, then the committee's prediction."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.frames.constraints.motion import temperature_K
from al_loop.gate.gate import Gate
from al_loop.gate.physics import PhysicsCheck, not_computable
from al_loop.records import Verdict
from al_loop.tools.monitoring.check import Check, UncertaintySource
from committee.errors import RefusedFrameError
from committee.prediction import Prediction
from committee.uncertainty.calibration import Calibration

Array = NDArray[np.float64]
Ask = Callable[[bool], Prediction]
"""Predicts a frame: with exact force uncertainties if True, else only as far as needed."""


@dataclass(frozen=True)
class GatedPrediction:
    """A check with the committee's prediction.

    Attributes:
        check: the logged numbers and verdict.
        prediction: of the committee; None if it was not evaluated or failed.
        uncertainty_ratio: (n,) combined uncertainty in units of the trust threshold, None where it is not exact.
    """

    check: Check
    prediction: Prediction | None
    uncertainty_ratio: Array | None


@dataclass(frozen=True)
class FrameContext:
    """Step and time of a frame, and the results of the dynamics' own calculator.

    Attributes:
        step: of the dynamics.
        time_ps: None where it has no time.
        energy_eV: potential energy, None to use the committee's.
        forces: (n, 3) eV/Å, None as above.
    """

    step: int
    time_ps: float | None = None
    energy_eV: float | None = None
    forces: Array | None = None


class TrajectoryGate:
    """Applies the gate to the frames of one trajectory.

    Args:
        calibration: of the committee.
        physics_check: physics check, relative to the trajectory's start.
    """

    def __init__(self, calibration: Calibration | None, physics_check: PhysicsCheck) -> None:
        self._gate = Gate(calibration)
        self.physics_check = physics_check

    @property
    def calibrated(self) -> bool:
        """Whether force uncertainties are calibrated."""
        calibration = self._gate.calibration
        return calibration is not None and calibration.trust_threshold is not None

    def judge(self, atoms: Atoms, moment: FrameContext, ask: Ask) -> GatedPrediction:
        """Check a frame.

        Args:
            atoms: the frame; not modified.
            moment: its step, time and results.
            ask: gives the committee's prediction; exact where another check than the force uncertainty
                raises an alarm, since such a frame is stored. Not called for numbers that are not finite.
        """
        broken = _not_finite(atoms)
        if broken is not None:
            return GatedPrediction(_check(atoms, moment, broken, UncertaintySource.NOT), None, None)
        told = moment.energy_eV is not None
        physics = self.physics_check.check(atoms, moment.forces, moment.energy_eV) if told else None
        try:
            prediction = ask(False)
            if not told:
                physics = self.physics_check.check(atoms, prediction.forces, prediction.energy)
            judged = self._judged(atoms, moment, physics, prediction)
            if judged.check.alarm and judged.check.looked is UncertaintySource.SCREENED:
                judged = self._judged(atoms, moment, physics, ask(True))
        except RefusedFrameError as error:
            verdict = physics or not_computable(f"the model has no prediction: {error.reason}")
            return GatedPrediction(_check(atoms, moment, verdict, UncertaintySource.NOT), None, None)
        return judged

    def _judged(
        self, atoms: Atoms, moment: FrameContext, physics: Verdict | None, prediction: Prediction
    ) -> GatedPrediction:
        gated = self._gate.evaluate(prediction, physics, screened=self.calibrated)
        sigma, distance = gated.force_uncertainty, prediction.latent_distance
        looked = (
            UncertaintySource.EXACT
            if sigma is not None
            else UncertaintySource.SCREENED
            if self.calibrated
            else UncertaintySource.NOT
        )
        check = _check(atoms, moment, gated.verdict, looked, sigma, distance, prediction.energy)
        return GatedPrediction(check, prediction, self._doubt(sigma, distance))

    def _doubt(self, sigma: Array | None, distance: Array | None) -> Array | None:
        calibration = self._gate.calibration
        if calibration is None or not calibration.trust_threshold or sigma is None or distance is None:
            return None
        return np.asarray(calibration.uncertainty(sigma, distance) / calibration.trust_threshold)


def _not_finite(atoms: Atoms) -> Verdict | None:
    if all(np.isfinite(array).all() for array in (atoms.positions, atoms.cell.array, atoms.get_momenta())):
        return None
    return not_computable("non-finite positions, velocities or cell")


def _check(
    atoms: Atoms,
    moment: FrameContext,
    verdict: Verdict,
    looked: UncertaintySource,
    sigma: Array | None = None,
    distance: Array | None = None,
    energy_eV: float | None = None,
) -> Check:
    return Check(
        step=moment.step,
        time_ps=moment.time_ps,
        verdict=verdict,
        looked=looked,
        force_uncertainty_eV_per_A=None if sigma is None else float(sigma.max()),
        latent_distance=None if distance is None else float(distance.max()),
        energy_eV=energy_eV if moment.energy_eV is None else moment.energy_eV,
        temperature_K=temperature_K(atoms),
    )
