"""The result of a DFT calculation. A failed calculation is a value, not an exception that stops the loop."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from dft_interfaces.levels.level_of_theory import LevelOfTheory

__all__ = ["Attempt", "Failure", "Label", "LabelStatus", "LevelOfTheory"]


class LabelStatus(StrEnum):
    """How a calculation ended."""

    CONVERGED = "converged"
    UNCONVERGED = "unconverged"
    FAILED = "failed"
    REJECTED = "rejected"


class Failure(StrEnum):
    """Why there is no label."""

    UNCONVERGED = "not converged"
    CRASH = "crash"
    TIME = "time limit"
    MEMORY = "memory"
    DISK = "disk"
    OUTPUT = "output missing or truncated"
    CANCELLED = "cancelled"
    NOT_FINITE = "not finite"
    NET_FORCE = "net force"
    OUTLIER = "outlier"
    UNSUITABLE = "unsuitable structure or settings"


@dataclass(frozen=True)
class Attempt:
    """One of the calculations for a label: a retry, or one of several starting moments.

    Attributes:
        what: how it differed, for example ``slow mixing`` or ``moments antiferromagnetic``.
        status: how it ended.
        failure: why it gave no label, None if it gave one.
        energy_eV: total energy if it converged.
        cost_s: wall time.
        message: the engine's own last lines, or a remark.
    """

    what: str
    status: LabelStatus
    failure: Failure | None = None
    energy_eV: float | None = None
    cost_s: float = 0.0
    message: str = ""


@dataclass(frozen=True)
class Label:
    """The outcome of one request, in the atom order of the submitted structure.

    Attributes:
        status: only ``converged`` labels are ever trained on.
        level_of_theory: fingerprint of the engine's level of theory.
        energy_eV: total energy, None unless converged.
        forces_eV_per_A: (n, 3), None unless converged.
        stress_eV_per_A3: (6,) Voigt xx yy zz yz xz xy, None where the engine has no stress.
        cost_s: wall time of all attempts.
        message: why it failed or was rejected, with the engine's own last lines; or a remark on a converged label.
        failure: the kind of failure, None if converged.
        magnetic_moments_uB: (n,) converged magnetic moments of the atoms, None where there are none.
        attempts: all calculations, in order; empty if there was only one.
    """

    status: LabelStatus
    level_of_theory: str
    energy_eV: float | None = None
    forces_eV_per_A: NDArray[np.float64] | None = None
    stress_eV_per_A3: NDArray[np.float64] | None = None
    cost_s: float = 0.0
    message: str = ""
    failure: Failure | None = None
    magnetic_moments_uB: NDArray[np.float64] | None = None
    attempts: tuple[Attempt, ...] = ()

    def as_attempt(self, what: str) -> Attempt:
        """Return this outcome as one of several calculations."""
        return Attempt(what, self.status, self.failure, self.energy_eV, self.cost_s, self.message)
