"""What a DFT calculation returns. A failed calculation is a value, not an exception that stops the loop."""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class LabelStatus(StrEnum):
    """How a calculation ended."""

    CONVERGED = "converged"
    UNCONVERGED = "unconverged"
    FAILED = "failed"
    REJECTED = "rejected"


@dataclass(frozen=True)
class LevelOfTheory:
    """Everything that changes an engine's numbers; labels of different levels never mix.

    Attributes:
        code: engine family, for example ``pyscf``.
        summary: the level in words, for example ``PBE/def2-SVP, density fitting``.
        parameters: JSON-serialisable settings that enter the fingerprint (versions and core counts do not).
    """

    code: str
    summary: str
    parameters: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """SHA-256 (16 hex digits) of code and parameters."""
        text = json.dumps([self.code, self.parameters], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Label:
    """The outcome of one calculation, in the atom order of the structure that was handed in.

    Attributes:
        status: only ``converged`` labels are ever trained on.
        level_of_theory: fingerprint of the engine's level of theory.
        energy_eV: total energy, None unless converged.
        forces_eV_per_A: (n, 3), None unless converged.
        stress_eV_per_A3: (6,) Voigt xx yy zz yz xz xy, None where the engine has no stress.
        cost_s: wall time of the calculation.
        message: why it failed or was rejected, with the engine's own last lines.
    """

    status: LabelStatus
    level_of_theory: str
    energy_eV: float | None = None
    forces_eV_per_A: NDArray[np.float64] | None = None
    stress_eV_per_A3: NDArray[np.float64] | None = None
    cost_s: float = 0.0
    message: str = ""
