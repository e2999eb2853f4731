"""One check of one frame: its numbers and verdict."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from al_loop.records import GateCheck, Verdict, VerdictKind

SHOWN_ATOMS = 20


class UncertaintySource(StrEnum):
    """How the force uncertainty of a frame was found."""

    EXACT = "exact"  # every member's forces
    SCREENED = "screened"  # the screen vouches for every atom
    NOT = "not"  # the frame's physics, or the missing calibration, leave nothing to ask


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
    """Return the number, None if it is not finite."""
    return None if value is None or not math.isfinite(value) else round(float(value), 6)
