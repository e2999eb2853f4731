"""The gate for one trajectory: the physics check first, then the committee's prediction; and what a check holds."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.frames.constraints.motion import temperature_K
from al_loop.gate.gate import Gate
from al_loop.gate.physics import PhysicsCheck, not_computable
from al_loop.records import GateCheck, Verdict, VerdictKind
from committee.errors import RefusedFrameError
from committee.prediction import Prediction
from committee.uncertainty.calibration import Calibration

SHOWN_ATOMS = 20

Array = NDArray[np.float64]
Predictor = Callable[[bool], Prediction]
"""Predicts a frame: with exact force uncertainties if True, else only as far as needed."""


class UncertaintySource(StrEnum):
    """How the force uncertainty of a frame was found."""

    EXACT = "exact"  # every member's forces
    SCREENED = "screened"  # the screen finds the frame below the threshold
    NOT = "not"  # the frame's physics, or the missing calibration, leave nothing to calculate


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        step: of the dynamics; number of the frame in a finished trajectory.
        time_ps: since the dynamics began, None where it has no time.
        verdict: of the gate.
        looked: how the force uncertainty was found.
        force_uncertainty_eV_per_A: largest of the frame where it is exact, else None.
        latent_distance: largest of the frame.
        energy_eV: potential energy of the dynamics' calculator, or of the committee.
        temperature_K: kinetic.
    """

    step: int
    time_ps: float | None
    verdict: Verdict
    looked: UncertaintySource
    force_uncertainty_eV_per_A: float | None
    latent_distance: float | None
    energy_eV: float | None
    temperature_K: float

    @property
    def trusted(self) -> bool:
        """Whether the gate trusts the frame."""
        return self.verdict.kind is VerdictKind.TRUSTED

    @property
    def uncalibrated(self) -> bool:
        """Whether the model is not calibrated, which is no alarm and is reported once."""
        return self.verdict.check is GateCheck.UNCALIBRATED

    @property
    def alarm(self) -> bool:
        """Whether the frame raises an alarm."""
        return not (self.trusted or self.uncalibrated)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a number that is not finite is None."""
        return {
            "step": self.step,
            "time_ps": finite(self.time_ps),
            "verdict": self.verdict.kind.value,
            "check": self.verdict.check.value,
            "reason": self.verdict.reason,
            "atoms": list(self.verdict.atoms[:SHOWN_ATOMS]),
            "atoms_in_all": len(self.verdict.atoms),
            "looked": self.looked.value,
            "force_uncertainty_eV_per_A": finite(self.force_uncertainty_eV_per_A),
            "latent_distance": finite(self.latent_distance),
            "energy_eV": finite(self.energy_eV),
            "temperature_K": finite(self.temperature_K),
        }


def finite(value: float | None) -> float | None:
    """Return the number, rounded for a log; None if it is not finite."""
    return None if value is None or not math.isfinite(value) else round(float(value), 6)


@dataclass(frozen=True)
class CheckedFrame:
    """A check with the committee's prediction.

    Attributes:
        check: the logged numbers and verdict.
        prediction: of the committee; None if it was not evaluated or failed.
        uncertainty_ratio: (n,) combined uncertainty in units of the trust threshold, None where it is not exact.
    """

    check: Check
    prediction: Prediction | None = None
    uncertainty_ratio: Array | None = None


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
        self._calibrated = calibration is not None and calibration.trust_threshold is not None
        self.physics_check = physics_check

    def evaluate(self, atoms: Atoms, context: FrameContext, predict: Predictor) -> CheckedFrame:
        """Check a frame.

        Args:
            atoms: the frame; not modified.
            context: its step, time and results.
            predict: gives the committee's prediction; exact where another check than the force uncertainty
                raises an alarm, since such a frame is stored. Not called for numbers that are not finite.
        """
        if not all(np.isfinite(array).all() for array in (atoms.positions, atoms.cell.array, atoms.get_momenta())):
            broken = not_computable("non-finite positions, velocities or cell")
            return CheckedFrame(_check(atoms, context, broken, UncertaintySource.NOT))
        has_energy = context.energy_eV is not None
        physics = self.physics_check.check(atoms, context.forces, context.energy_eV) if has_energy else None
        try:
            prediction = predict(False)
            if not has_energy:
                physics = self.physics_check.check(atoms, prediction.forces, prediction.energy)
            gated = self._gated(atoms, context, physics, prediction)
            if gated.check.alarm and gated.check.looked is UncertaintySource.SCREENED:
                gated = self._gated(atoms, context, physics, predict(True))
        except RefusedFrameError as error:
            verdict = physics or not_computable(f"the model has no prediction: {error.reason}")
            return CheckedFrame(_check(atoms, context, verdict, UncertaintySource.NOT))
        return gated

    def _gated(
        self, atoms: Atoms, context: FrameContext, physics: Verdict | None, prediction: Prediction
    ) -> CheckedFrame:
        gated = self._gate.evaluate(prediction, physics, screened=self._calibrated)
        sigma = gated.force_uncertainty
        not_exact = UncertaintySource.SCREENED if self._calibrated else UncertaintySource.NOT
        looked = not_exact if sigma is None else UncertaintySource.EXACT
        check = _check(atoms, context, gated.verdict, looked, sigma, prediction)
        return CheckedFrame(check, prediction, self._uncertainty_ratio(sigma, prediction.latent_distance))

    def _uncertainty_ratio(self, sigma: Array | None, distance: Array | None) -> Array | None:
        calibration = self._gate.calibration
        if calibration is None or not calibration.trust_threshold or sigma is None or distance is None:
            return None
        return np.asarray(calibration.uncertainty(sigma, distance) / calibration.trust_threshold)


def _check(
    atoms: Atoms,
    context: FrameContext,
    verdict: Verdict,
    looked: UncertaintySource,
    sigma: Array | None = None,
    prediction: Prediction | None = None,
) -> Check:
    distance = None if prediction is None else prediction.latent_distance
    predicted_eV = None if prediction is None else prediction.energy
    return Check(
        step=context.step,
        time_ps=context.time_ps,
        verdict=verdict,
        looked=looked,
        force_uncertainty_eV_per_A=None if sigma is None else float(sigma.max()),
        latent_distance=None if distance is None else float(distance.max()),
        energy_eV=predicted_eV if context.energy_eV is None else context.energy_eV,
        temperature_K=temperature_K(atoms),
    )
