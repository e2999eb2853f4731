"""Labelled forces and the foundation's forces of the same frames, made comparable."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from committee.checks.unit_mismatch import MIN_FRAMES

Array = NDArray[np.float64]

PAIR = 2  # atoms
ALONG_BOND = 0.9  # share of a force's norm along the bond above which it counts as a bond force
_APART = np.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])  # forces that push two atoms apart


@dataclass(frozen=True)
class ComparedForces:
    """Labelled forces of one frame of n atoms and the foundation's.

    Attributes:
        atomic_numbers: (n,).
        label: (n, 3), expected in eV/Å.
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
    """Return the vector (3,) from the first to the second atom of a diatomic molecule; None for other frames."""
    return np.asarray(atoms.positions[1] - atoms.positions[0]) if len(atoms) == PAIR and not atoms.pbc.any() else None


def grouped_by_atoms(frames: Sequence[ComparedForces]) -> list[list[ComparedForces]]:
    """Group frames with the same elements in the same order."""
    groups: dict[bytes, list[ComparedForces]] = {}
    for frame in frames:
        groups.setdefault(np.asarray(frame.atomic_numbers, dtype=np.int64).tobytes(), []).append(frame)
    return list(groups.values())


def without_median_bond_force(frames: Sequence[ComparedForces]) -> list[ComparedForces]:
    """Subtract from the bond forces of each diatomic molecule their median over its frames.

    If the bond lengths of labels and foundation differ, correct forces at lengths in between have opposite signs: only
    the variation is comparable. Molecules with too few frames are left out; forces that are not along the bond are
    unchanged.
    """
    compared = [frame for frame in frames if not _is_along_axis(frame)]
    for group in grouped_by_atoms([frame for frame in frames if _is_along_axis(frame)]):
        if len(group) < MIN_FRAMES:
            continue
        pulls = np.array([[_along(f.label, f.axis), _along(f.foundation, f.axis)] for f in group])
        for frame, (label, foundation) in zip(group, pulls - np.median(pulls, axis=0), strict=True):
            compared.append(replace(frame, label=label * _APART, foundation=foundation * _APART))
    return compared


def _is_along_axis(frame: ComparedForces) -> bool:
    pull = abs(_along(frame.label, frame.axis)) * np.sqrt(2)
    return frame.axis is not None and bool(pull >= ALONG_BOND * np.linalg.norm(frame.label))


def _along(forces: Array, axis: Array | None) -> float:
    """Return the force that pushes two atoms apart, eV/Å."""
    return float(np.vdot(forces[1] - forces[0], axis) / (2 * np.linalg.norm(axis))) if axis is not None else 0.0
