"""The gate: one verdict for every frame, from three lanes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from al_loop.records import Lane, Verdict, VerdictKind
from committee.calibration import Calibration

TRUSTED = Verdict(VerdictKind.TRUSTED, Lane.NONE)


@dataclass(frozen=True)
class Gate:
    """Force uncertainty and latent distance against calibrated thresholds; physics is asked first.

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
        return self._force_lane(force_uncertainty) or self._latent_lane(latent_distance) or TRUSTED

    def _force_lane(self, sigma: NDArray[np.float64]) -> Verdict | None:
        worst = float(sigma.max())
        discard, trust = self._thresholds()
        if worst > discard:
            return Verdict(
                VerdictKind.DISCARD,
                Lane.FORCE_UNCERTAINTY,
                f"max_devi_f {worst:.3f} above the discard threshold {discard:.3f} eV/Å",
                _above(sigma, discard),
                stop=True,
            )
        if worst > trust:
            return Verdict(
                VerdictKind.SUSPECT,
                Lane.FORCE_UNCERTAINTY,
                f"max_devi_f {worst:.3f} above the threshold {trust:.3f} eV/Å",
                _above(sigma, trust),
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
