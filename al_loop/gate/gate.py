"""The gate: one verdict for each frame, from physics, the calibrated uncertainty and the latent distance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from al_loop.records import Lane, Verdict, VerdictKind
from committee.prediction import Prediction
from committee.uncertainty.calibration import Calibration

TRUSTED = Verdict(VerdictKind.TRUSTED, Lane.NONE)
_UNCALIBRATED = "uncalibrated: not enough labels yet"


@dataclass(frozen=True)
class Gate:
    """Evaluates physics first, then the combined uncertainty, then the latent distance to the calibration frames.

    Attributes:
        calibration: thresholds from labels that the fit has not seen; None before the first training, when
            every frame is suspect because the model's errors are unknown.
    """

    calibration: Calibration | None

    def evaluate(self, prediction: Prediction, physics: Verdict | None, *, screened: bool = False) -> "GatedPrediction":
        """Evaluate a frame.

        Args:
            prediction: of the frame.
            physics: verdict of the physics check, None if it passed.
            screened: a missing force uncertainty was found to be below the threshold by a screen.
        """
        sigma = _force_uncertainty(prediction)
        if sigma is None and screened:
            sigma = np.zeros(len(prediction.forces))
        return GatedPrediction(prediction, self.lanes(physics, sigma, prediction.latent_distance))

    def lanes(
        self,
        physics: Verdict | None,
        force_uncertainty: NDArray[np.float64] | None,
        latent_distance: NDArray[np.float64] | None,
    ) -> dict[Lane, Verdict]:
        """The verdict of each check by itself, in the order of evaluation.

        Args:
            physics: verdict of the physics check, None if it passed.
            force_uncertainty: (n,) norm of the force's standard deviation on each atom, eV/Å.
            latent_distance: (n,) latent distance of each atom.

        Returns:
            Physics, force uncertainty (its verdict has the lane ``uncalibrated`` while the errors are unknown) and
            latent distance, in this order. The reason of a trusted verdict holds the measured number.
        """
        verdicts = (
            physics or Verdict(VerdictKind.TRUSTED, Lane.PHYSICS),
            self._force_lane(force_uncertainty, latent_distance),
            self._latent_lane(latent_distance),
        )
        return dict(zip((Lane.PHYSICS, Lane.FORCE_UNCERTAINTY, Lane.LATENT_DISTANCE), verdicts, strict=True))

    def _force_lane(self, sigma: NDArray[np.float64] | None, distance: NDArray[np.float64] | None) -> Verdict:
        calibration = self.calibration
        if calibration is None or calibration.trust_threshold is None or sigma is None or distance is None:
            return Verdict(VerdictKind.SUSPECT, Lane.UNCALIBRATED, _UNCALIBRATED)
        lane = Lane.FORCE_UNCERTAINTY
        finite = np.isfinite(sigma) & np.isfinite(distance)
        if not finite.all():
            return Verdict(VerdictKind.DISCARD, lane, "non-finite uncertainty", _indices(~finite), stop=True)
        trust = calibration.trust_threshold
        discard = np.inf if calibration.discard_threshold is None else calibration.discard_threshold
        combined = calibration.uncertainty(sigma, distance)
        worst, frame = float(combined.max()), calibration.frame_uncertainty(sigma, distance)
        measured = f"max_devi_f {sigma.max():.3f} eV/Å, latent distance {distance.max():.1f}"
        if worst > discard:
            reason = f"an atom's uncertainty {worst:.3f} above the discard threshold {discard:.3f} eV/Å ({measured})"
            return Verdict(VerdictKind.DISCARD, lane, reason, _indices(combined > discard), stop=True)
        if frame > trust:
            reason = f"uncertainty {frame:.3f} above the threshold {trust:.3f} eV/Å ({measured})"
            return Verdict(VerdictKind.SUSPECT, lane, reason, _indices(combined > trust))
        return Verdict(VerdictKind.TRUSTED, lane, f"uncertainty {frame:.3f} eV/Å ({measured})")

    def _latent_lane(self, distance: NDArray[np.float64] | None) -> Verdict:
        limit = None if self.calibration is None else self.calibration.latent_threshold
        if limit is None or distance is None:
            return Verdict(VerdictKind.SUSPECT, Lane.UNCALIBRATED, _UNCALIBRATED)
        # Written so that NaN is not trusted.
        far = ~(distance <= limit)
        if far.any():
            reason = f"latent distance {distance.max():.1f} above {limit:.1f}"
            return Verdict(VerdictKind.SUSPECT, Lane.LATENT_DISTANCE, reason, _indices(far))
        return Verdict(VerdictKind.TRUSTED, Lane.LATENT_DISTANCE, f"latent distance {distance.max():.1f}")


@dataclass(frozen=True)
class GatedPrediction:
    """Prediction and verdicts for a frame of n atoms.

    Attributes:
        prediction: None where the model has none.
        lanes: the verdict of each evaluated check, in their order.
    """

    prediction: Prediction | None
    lanes: Mapping[Lane, Verdict]

    @classmethod
    def without(cls, verdict: Verdict) -> Self:
        """Return the result for a frame without a prediction, which one check decides."""
        return cls(None, {verdict.lane: verdict})

    @property
    def verdict(self) -> Verdict:
        """The verdict on the frame: that of the first check that does not trust it."""
        return next((verdict for verdict in self.lanes.values() if verdict.kind is not VerdictKind.TRUSTED), TRUSTED)

    @property
    def force_uncertainty(self) -> NDArray[np.float64] | None:
        """(n,) norm of the force's standard deviation on each atom, eV/Å; None where it was not computed."""
        return None if self.prediction is None else _force_uncertainty(self.prediction)

    @property
    def sound(self) -> bool:
        """There is a prediction, and the physics check passed."""
        return self.prediction is not None and self.verdict.lane is not Lane.PHYSICS

    @property
    def trusted(self) -> bool:
        """The gate trusts the prediction."""
        return self.verdict.kind is VerdictKind.TRUSTED


def _force_uncertainty(prediction: Prediction) -> NDArray[np.float64] | None:
    return None if prediction.forces_uncertainty is None else prediction.atomic_force_uncertainty


def _indices(chosen: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.flatnonzero(chosen))
