"""Slabs: position of the vacuum, whether a dipole correction can act there, and whether the two faces differ."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from dft_interfaces.geometry.vacuum import gaps_A, widest_gap

FILLED_A = 4.5
"""Planes of atoms of a crystal, layered ones included, are not further apart than this."""

MIN_VACUUM_A = 8.0
"""Least vacuum for the electron tails of both faces and the step of the potential between them."""

MAX_TILT = 1e-3
"""Largest cosine between the vector across the vacuum and the surface that counts as a right angle."""

SAME_FACE_A = 0.2
"""Heights of atoms below the two faces of a slab that differ by less are alike."""


@dataclass(frozen=True)
class Slab:
    """The vacuum of a slab.

    Attributes:
        axis: number (0 to 2) of the lattice vector across it.
        vacuum_A: its width.
        vacuum_middle: position of its middle, in fractions of that vector.
    """

    axis: int
    vacuum_A: float
    vacuum_middle: float

    @property
    def middle(self) -> float:
        """Position of the middle of the slab, in fractions of the vector."""
        return (self.vacuum_middle + 0.5) % 1.0


def slab_of(atoms: Atoms) -> Slab | None:
    """Return the vacuum of a slab; None for a bulk, a chain, a molecule, or a cell that is not periodic.

    Args:
        atoms: a slab has exactly one lattice vector with a gap between its atoms that no crystal has.
    """
    if not atoms.pbc.all():
        return None
    empty = np.flatnonzero(gaps_A(atoms) > FILLED_A)
    if len(empty) != 1:
        return None
    axis = int(empty[0])
    return Slab(axis, *widest_gap(atoms, axis))


def correction_problem(atoms: Atoms, slab: Slab) -> str | None:
    """Return why no dipole correction can act in the vacuum of a slab, None if one can."""
    name = "abc"[slab.axis]
    if slab.vacuum_A < MIN_VACUUM_A:
        return (
            f"received a slab with {slab.vacuum_A:.1f} Å between its atoms along {name}, expected at least "
            f"{MIN_VACUUM_A:g} Å of vacuum, which the step of the potential needs: widen it, or remove the key"
        )
    directions = atoms.cell.array / atoms.cell.lengths()[:, None]
    tilt = max(abs(float(directions[slab.axis] @ directions[other])) for other in range(3) if other != slab.axis)
    if tilt > MAX_TILT:
        return (
            f"received a slab whose vector {name}, across the vacuum, is tilted by {np.degrees(np.arcsin(tilt)):.1f}° "
            "against the normal of its surface, expected a right angle: ase.build.surface and pymatgen's "
            "get_orthogonal_c_slab make one; or remove the key"
        )
    return None


def faces_differ(atoms: Atoms, slab: Slab) -> bool:
    """Return whether a slab's faces differ: an element's heights seen from above and below are not the same."""
    fractions = (atoms.get_scaled_positions(wrap=False)[:, slab.axis] - slab.vacuum_middle) % 1.0
    heights_A = fractions / np.linalg.norm(atoms.cell.reciprocal()[slab.axis])
    heights_A -= heights_A.mean()
    for number in np.unique(atoms.numbers):
        own = np.sort(heights_A[atoms.numbers == number])
        if np.abs(own + own[::-1]).max() > SAME_FACE_A:
            return True
    return False
