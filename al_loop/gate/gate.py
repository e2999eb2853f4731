"""The gate: one verdict for every frame, from physics, the calibrated uncertainty and the latent distance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from al_loop.records import Lane, Verdict, VerdictKind
from committee.calibration import Calibration

TRUSTED = Verdict(VerdictKind.TRUSTED, Lane.NONE)


@dataclass(frozen=True)
class Gate:
    """Physics is asked first, then the combined uncertainty, then whether anything like the frame was calibrated on.

    Attributes:
        calibration: thresholds from labels that the fit has not seen; None before the first training, when
            every frame is suspect because nothing is known about the model's errors.
    """

    calibration: Calibration | None

    def judge(
        self,
        physics: Verdict | None,
        force_uncertainty: NDArray[np.float64] | None,
        latent_distance: NDArray[np.float64] | None,
    ) -> Verdict:
        """Combine the lanes.

        Args:
            physics: what the physics lane found, None if nothing.
            force_uncertainty: (n,) norm of the force's standard deviation on each atom, eV/Å.
            latent_distance: (n,) latent distance of each atom.
        """
        if physics is not None:
            return physics
        known = self.calibration is not None and self.calibration.trust_threshold is not None
        if not known or force_uncertainty is None or latent_distance is None:
            return Verdict(VerdictKind.SUSPECT, Lane.UNCALIBRATED, "uncalibrated: not enough labels yet")
        if not (np.isfinite(force_uncertainty).all() and np.isfinite(latent_distance).all()):
            return Verdict(VerdictKind.DISCARD, Lane.FORCE_UNCERTAINTY, "non-finite uncertainty", stop=True)
        spoken = self._force_lane(force_uncertainty, latent_distance) or self._latent_lane(latent_distance)
        return spoken or TRUSTED

    def _force_lane(self, sigma: NDArray[np.float64], distance: NDArray[np.float64]) -> Verdict | None:
        combined = sigma if self.calibration is None else self.calibration.uncertainty(sigma, distance)
        worst = float(combined.max())
        lanes = f"max_devi_f {sigma.max():.3f} eV/Å, latent distance {distance.max():.1f}"
        discard, trust = self._thresholds()
        if worst > discard:
            return Verdict(
                VerdictKind.DISCARD,
                Lane.FORCE_UNCERTAINTY,
                f"uncertainty {worst:.3f} above the discard threshold {discard:.3f} eV/Å ({lanes})",
                _above(combined, discard),
                stop=True,
            )
        if worst > trust:
            return Verdict(
                VerdictKind.SUSPECT,
                Lane.FORCE_UNCERTAINTY,
                f"uncertainty {worst:.3f} above the threshold {trust:.3f} eV/Å ({lanes})",
                _above(combined, trust),
            )
        return None

    def _latent_lane(self, distance: NDArray[np.float64]) -> Verdict | None:
        limit = None if self.calibration is None else self.calibration.latent_threshold
        worst = float(distance.max())
        if limit is None or worst <= limit:
            return None
        return Verdict(
            VerdictKind.SUSPECT,
            Lane.LATENT_DISTANCE,
            f"latent distance {worst:.1f} above {limit:.1f}",
            _above(distance, limit),
        )

    def _thresholds(self) -> tuple[float, float]:
        """Discard and trust threshold, eV/Å; a threshold that is not known discards or trusts nothing."""
        calibration = self.calibration
        discard = None if calibration is None else calibration.discard_threshold
        trust = None if calibration is None else calibration.trust_threshold
        return np.inf if discard is None else discard, 0.0 if trust is None else trust


def _above(values: NDArray[np.float64], threshold: float) -> tuple[int, ...]:
    return tuple(int(i) for i in np.flatnonzero(values > threshold))
