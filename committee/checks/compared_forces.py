"""Labelled forces beside the foundation's, made comparable."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from committee.checks.unit_mismatch import MIN_FRAMES

Array = NDArray[np.float64]

PAIR = 2  # atoms
MOSTLY = 0.9  # of the size of a force that must point along the bond for the force to be one of the bond
_APART = np.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])  # forces that drive two atoms apart


@dataclass(frozen=True)
class ComparedForces:
    """One frame of n atoms, labelled and as the foundation sees it.

    Attributes:
        atomic_numbers: (n,).
        label: (n, 3) in what should be eV/Å.
        foundation: (n, 3) eV/Å.
        label_energy_eV: NaN if there is none.
        foundation_energy_eV: of the same frame.
        axis: as ``two_atom_axis`` returns it.
    """

    atomic_numbers: NDArray[np.int64]
    label: Array
    foundation: Array
    label_energy_eV: float = np.nan
    foundation_energy_eV: float = np.nan
    axis: Array | None = None


def two_atom_axis(atoms: Atoms) -> Array | None:
    """Return the vector (3,) from the first to the second atom of a molecule of two; None for everything else."""
    return np.asarray(atoms.positions[1] - atoms.positions[0]) if len(atoms) == PAIR and not atoms.pbc.any() else None


def kinds_of(frames: Sequence[ComparedForces]) -> list[list[ComparedForces]]:
    """Frames of the same atoms in the same order."""
    kinds: dict[bytes, list[ComparedForces]] = {}
    for frame in frames:
        kinds.setdefault(np.asarray(frame.atomic_numbers, dtype=np.int64).tobytes(), []).append(frame)
    return list(kinds.values())


def about_bond_length(frames: Sequence[ComparedForces]) -> list[ComparedForces]:
    """Replace the forces of molecules of two atoms by what varies among the frames of a molecule.

    They have one direction. Where the bond lengths of labels and foundation differ, forces between the two are of
    opposite sign, and honest. Too few frames to see what varies say nothing; forces that do not point along the bond
    are left as they are.
    """
    compared = [frame for frame in frames if not _is_along_axis(frame)]
    for kind in kinds_of([frame for frame in frames if _is_along_axis(frame)]):
        if len(kind) < MIN_FRAMES:
            continue
        pulls = np.array([[_along(f.label, f.axis), _along(f.foundation, f.axis)] for f in kind])
        for frame, (label, foundation) in zip(kind, pulls - np.median(pulls, axis=0), strict=True):
            compared.append(replace(frame, label=label * _APART, foundation=foundation * _APART))
    return compared


def _is_along_axis(frame: ComparedForces) -> bool:
    pull = abs(_along(frame.label, frame.axis)) * np.sqrt(2)
    return frame.axis is not None and bool(pull >= MOSTLY * np.linalg.norm(frame.label))


def _along(forces: Array, axis: Array | None) -> float:
    """Force that drives two atoms apart, eV/Å."""
    return float(np.vdot(forces[1] - forces[0], axis) / (2 * np.linalg.norm(axis))) if axis is not None else 0.0
