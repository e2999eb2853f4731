"""Where a periodic cell is empty: a slab's vacuum, the box around a molecule."""

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

VACUUM_A = 6.0
"""Planes of atoms further apart than this have nothing but vacuum between them."""


def gaps_A(atoms: Atoms) -> NDArray[np.float64]:
    """Widest empty layer along each lattice vector, measured perpendicular to the other two (3,), Å; 0 if not periodic.

    Args:
        atoms: one atom or more.
    """
    widths = np.zeros(3)
    if not atoms.pbc.any():
        return widths
    reciprocal = atoms.cell.complete().reciprocal()
    fractions = atoms.get_scaled_positions()
    for axis in np.flatnonzero(atoms.pbc):
        places = np.sort(fractions[:, axis] % 1.0)
        widest = np.diff(places, append=places[0] + 1.0).max()
        widths[axis] = widest / np.linalg.norm(reciprocal[axis])
    return widths


def vacuum_axes(atoms: Atoms) -> list[str]:
    """Names of the lattice vectors along which the structure does not fill space: not periodic, or with vacuum."""
    empty = ~atoms.pbc | (gaps_A(atoms) > VACUUM_A)
    return [axis for axis, is_empty in zip("abc", empty, strict=True) if is_empty]
