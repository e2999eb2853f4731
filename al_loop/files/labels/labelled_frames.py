"""Records of labelled frames that were read from files."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LabelledAtoms:
    """One frame of n atoms.

    Attributes:
        atoms: the structure, without calculator.
        energy_eV: NaN if there is none.
        forces_eV_per_A: (n, 3), NaN if there are none.
        stress_eV_per_A3: (6,), NaN if there is none.
        where: file and number of the frame or step in it, for messages.
        provenance: origin of the frame, as ``al-loop export`` writes it.
    """

    atoms: Atoms
    energy_eV: float
    forces_eV_per_A: Array
    stress_eV_per_A3: Array
    where: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelledFrames:
    """The contents of labelled files.

    Attributes:
        frames: with their labels, some of which may lack; never an isolated atom.
        isolated_atoms: frames of one atom, whose energies are those of the elements.
        notes: sentences on frames that were merged, left out or separated.
    """

    frames: list[LabelledAtoms]
    isolated_atoms: list[LabelledAtoms] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def has_label(frame: LabelledAtoms) -> bool:
    """Whether a frame has an energy or forces."""
    return bool(np.isfinite(frame.energy_eV) or np.isfinite(frame.forces_eV_per_A).all())
