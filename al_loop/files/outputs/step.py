"""One ionic step of a DFT code's output."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

UNCONVERGED: Final = "the electronic steps did not converge"
MACHINE_LEARNED: Final = "VASP's machine-learned force field predicted them"
NO_FORCES: Final = "the file holds no forces for them"
CUT_OFF: Final = "the output ends within their forces"
NOT_FINITE: Final = "the energy or forces are not finite numbers"


@dataclass(frozen=True)
class IonicStep:
    """A structure of n atoms and what was calculated for it.

    Attributes:
        number: of the step in the run, from 1.
        atoms: the structure, without calculator.
        energy_eV: of which the forces are the derivative: the free energy where electrons are smeared. None if the
            step has none.
        forces_eV_per_A: (n, 3), None if the step has none.
        stress_eV_per_A3: (6,) in ASE's order and sign, None if the step has none.
        left_out: why the step is not a label, as a clause; empty for a label.
    """

    number: int
    atoms: Atoms
    energy_eV: float | None = None
    forces_eV_per_A: NDArray[np.float64] | None = None
    stress_eV_per_A3: NDArray[np.float64] | None = None
    left_out: str = ""


class OutputError(Exception):
    """An output cannot be used; the message gives the reason and, if known, the remedy."""
