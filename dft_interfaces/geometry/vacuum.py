"""The vacuum of a periodic cell: between slabs, or around a molecule in a box."""

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

VACUUM_A = 6.0
"""Planes of atoms further apart than this have nothing but vacuum between them."""


def gaps_A(atoms: Atoms) -> NDArray[np.float64]:
    """Return the widest empty layer along each lattice vector (3,), Å, normal to the other two; 0 if not periodic."""
    return np.array([widest_gap(atoms, axis)[0] if atoms.pbc[axis] else 0.0 for axis in range(3)])


def widest_gap(atoms: Atoms, axis: int) -> tuple[float, float]:
    """Return the widest empty layer along a periodic lattice vector.

    Args:
        atoms: one atom or more, anywhere in the cell or outside of it.
        axis: the lattice vector.

    Returns:
        Its width, Å, perpendicular to the other two vectors, and the position of its middle, in fractions of the
        vector (0 to 1).
    """
    places = np.sort(atoms.get_scaled_positions(wrap=False)[:, axis] % 1.0)
    widths = np.diff(places, append=places[0] + 1.0)
    widest = int(widths.argmax())
    per_A = float(np.linalg.norm(atoms.cell.complete().reciprocal()[axis]))
    return float(widths[widest]) / per_A, float((places[widest] + widths[widest] / 2) % 1.0)


def vacuum_axes(atoms: Atoms) -> list[str]:
    """Return the lattice vectors along which the structure does not fill space: not periodic, or with vacuum."""
    empty = ~atoms.pbc | (gaps_A(atoms) > VACUUM_A)
    return [axis for axis, is_empty in zip("abc", empty, strict=True) if is_empty]
