"""Prepare a slab for GPAW's dipole correction."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from dft_interfaces.geometry.slab import Slab

DIPOLE_LAYER = {"poissonsolver": {"dipolelayer": True}}
"""GPAW's parameters for a layer of dipoles across the one direction that is not periodic."""


@dataclass(frozen=True)
class PlacedSlab:
    """A copy of a slab shifted so that the potential step of GPAW, at the cell boundary, is in the vacuum.

    Attributes:
        atoms: not periodic across the vacuum, whose middle is at the cell boundary; lattice vectors along Cartesian
            axes as far as they are at right angles.
        rotation: (3, 3); a row vector of the copy times this is one of the caller's.
    """

    atoms: Atoms
    rotation: NDArray[np.float64]

    def in_callers_axes(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return vectors (n, 3) of the copy, such as forces, in the caller's axes."""
        rotated: NDArray[np.float64] = vectors @ self.rotation
        return rotated


def placed_slab(atoms: Atoms, slab: Slab) -> PlacedSlab:
    """Shift and rotate a slab; lengths, angles and the order of its atoms stay.

    Args:
        atoms: periodic in three directions.
        slab: its vacuum, whose vector is at right angles to the other two.
    """
    cell, rotation = atoms.cell.standard_form()
    if atoms.cell.handedness < 0:  # a mirror image, so that the vector across the vacuum points along its axis
        cell, rotation = -cell.array, -rotation
    fractions = atoms.get_scaled_positions(wrap=False)
    fractions[:, slab.axis] = (fractions[:, slab.axis] - slab.vacuum_middle) % 1.0
    copy = atoms.copy()
    copy.set_cell(cell)
    copy.set_scaled_positions(fractions)
    copy.pbc = [axis != slab.axis for axis in range(3)]
    return PlacedSlab(copy, np.asarray(rotation))
