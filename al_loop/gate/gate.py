"""The gate: one verdict for each frame, from physics, the calibrated uncertainty and the latent distance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from al_loop.records import GateCheck, Verdict, VerdictKind
from committee.prediction import Prediction
from committee.uncertainty.calibration import Calibration

TRUSTED = Verdict(VerdictKind.TRUSTED, GateCheck.NONE)
_UNCALIBRATED = "uncalibrated: not enough labels yet"


@dataclass(frozen=True)
class Gate:
    """Evaluates physics first, then the frame's uncertainty, then its largest latent distance to labelled frames.

    There is no calibration before the first training: every frame is suspect, since the model's errors are unknown.
    """

    calibration: Calibration | None

    def evaluate(self, prediction: Prediction, physics: Verdict | None, *, screened: bool = False) -> "GatedPrediction":
        """Evaluate a frame.

        ``physics`` is None if the physics check passed. If ``screened``, a screen found a missing force uncertainty to
        be below the threshold.
        """
        sigma = _force_uncertainty(prediction)
        if sigma is None and screened:
            sigma = np.zeros(len(prediction.forces))
        distance, uncertainty = prediction.latent_distance, None
        checks = self.checks(physics, sigma, distance)
        if self.calibration is not None and prediction.forces_uncertainty is not None and distance is not None:
            uncertainty = self.calibration.frame_uncertainty(prediction.atomic_force_uncertainty, distance)
        return GatedPrediction(prediction, checks, uncertainty)

    def checks(
        self,
        physics: Verdict | None,
        force_uncertainty: NDArray[np.float64] | None,
        latent_distance: NDArray[np.float64] | None,
    ) -> dict[GateCheck, Verdict]:
        """The verdict of each check by itself, in the order of evaluation.

        Returns:
            Physics, force uncertainty (its verdict has the check ``uncalibrated`` while the errors are unknown) and
            latent distance, in this order. The reason of a trusted verdict holds the measured number.
        """
        verdicts = (
            physics or Verdict(VerdictKind.TRUSTED, GateCheck.PHYSICS),
            self._force_check(force_uncertainty, latent_distance),
            self._latent_check(latent_distance),
        )
        return dict(
            zip((GateCheck.PHYSICS, GateCheck.FORCE_UNCERTAINTY, GateCheck.LATENT_DISTANCE), verdicts, strict=True)
        )

    def _force_check(self, sigma: NDArray[np.float64] | None, distance: NDArray[np.float64] | None) -> Verdict:
        calibration = self.calibration
        if calibration is None or calibration.trust_threshold is None or sigma is None or distance is None:
            return Verdict(VerdictKind.SUSPECT, GateCheck.UNCALIBRATED, _UNCALIBRATED)
        check = GateCheck.FORCE_UNCERTAINTY
        finite = np.isfinite(sigma) & np.isfinite(distance)
        if not finite.all():
            return Verdict(VerdictKind.DISCARD, check, "non-finite uncertainty", _indices(~finite), stop=True)
        trust = calibration.trust_threshold
        discard = np.inf if calibration.discard_threshold is None else calibration.discard_threshold
        combined = calibration.uncertainty(sigma, distance)
        worst, frame = float(combined.max()), calibration.frame_uncertainty(sigma, distance)
        measured = f"max_devi_f {sigma.max():.3f} eV/Å, latent distance {distance.max():.1f}"
        if worst > discard:
            reason = f"an atom's uncertainty {worst:.3f} above the discard threshold {discard:.3f} eV/Å ({measured})"
            return Verdict(VerdictKind.DISCARD, check, reason, _indices(combined > discard), stop=True)
        if frame > trust:
            reason = f"uncertainty {frame:.3f} above the threshold {trust:.3f} eV/Å ({measured})"
            return Verdict(VerdictKind.SUSPECT, check, reason, _indices(combined > trust))
        return Verdict(VerdictKind.TRUSTED, check, f"uncertainty {frame:.3f} eV/Å ({measured})")

    def _latent_check(self, distance: NDArray[np.float64] | None) -> Verdict:
        limit = None if self.calibration is None else self.calibration.latent_threshold
        if limit is None or distance is None:
            return Verdict(VerdictKind.SUSPECT, GateCheck.UNCALIBRATED, _UNCALIBRATED)
        # Written so that NaN is not trusted.
        far = ~(distance <= limit)
        if far.any():
            reason = f"latent distance {distance.max():.1f} above {limit:.1f}"
            return Verdict(VerdictKind.SUSPECT, GateCheck.LATENT_DISTANCE, reason, _indices(far))
        return Verdict(VerdictKind.TRUSTED, GateCheck.LATENT_DISTANCE, f"latent distance {distance.max():.1f}")


@dataclass(frozen=True)
class GatedPrediction:
    """Prediction and verdicts for a frame of n atoms.

    Attributes:
        prediction: None where the model has none.
        checks: the verdict of each evaluated check, in their order.
        frame_uncertainty: to which the trust threshold applies, eV/Å; None where it was not computed.
    """

    prediction: Prediction | None
    checks: Mapping[GateCheck, Verdict]
    frame_uncertainty: float | None = None

    @classmethod
    def without(cls, verdict: Verdict) -> Self:
        """Return the result for a frame without a prediction, which one check decides."""
        return cls(None, {verdict.check: verdict})

    @property
    def verdict(self) -> Verdict:
        """The verdict on the frame: that of the first check that does not trust it."""
        return next((verdict for verdict in self.checks.values() if verdict.kind is not VerdictKind.TRUSTED), TRUSTED)

    @property
    def force_uncertainty(self) -> NDArray[np.float64] | None:
        """(n,) norm of the force's standard deviation on each atom, eV/Å; None where it was not computed."""
        return None if self.prediction is None else _force_uncertainty(self.prediction)

    @property
    def sound(self) -> bool:
        """There is a prediction, and the physics check passed."""
        return self.prediction is not None and self.verdict.check is not GateCheck.PHYSICS

    @property
    def trusted(self) -> bool:
        """The gate trusts the prediction."""
        return self.verdict.kind is VerdictKind.TRUSTED


def _force_uncertainty(prediction: Prediction) -> NDArray[np.float64] | None:
    return None if prediction.forces_uncertainty is None else prediction.atomic_force_uncertainty


def _indices(chosen: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.flatnonzero(chosen))
