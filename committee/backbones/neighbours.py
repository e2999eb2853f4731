"""Periodic boxes for neighbour searches in frames that are not periodic in all directions."""

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell

_FAR_A = 20.0
_FLATTEST_CELL = 1e-3


def enclose(atoms: Atoms, cutoff: float) -> Atoms:
    """Return a frame with the same neighbours whose neighbour search is cheap.

    SevenNet's graph builder puts atoms into a box along the Cartesian axes that grows with their distance
    from the origin: it runs out of memory for a molecule that drifted away, and fails for a slab whose
    periodic vectors are not along the matching axes. Such frames get a periodic box with enough vacuum instead.

    Args:
        atoms: a valid frame; not modified.
        cutoff: neighbour cutoff, Å.
    """
    if atoms.pbc.all() or _is_easy(atoms):
        return atoms
    cell = complete_cell(np.where(atoms.pbc[:, None], atoms.cell.array, 0.0))
    coordinates = np.linalg.solve(cell.T, atoms.positions.T).T
    spans = np.ptp(coordinates, axis=0) + 3.0 * cutoff  # rows that were completed are unit vectors
    scale = np.where(atoms.pbc, 1.0, spans)
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=cell * scale[:, None], pbc=True)


def _is_easy(atoms: Atoms) -> bool:
    cell = np.where(atoms.pbc[:, None], atoms.cell.array, np.eye(3))
    spanned = abs(np.linalg.det(cell)) / np.linalg.norm(cell, axis=1).prod()
    return bool(np.abs(atoms.positions).max() < _FAR_A and spanned > _FLATTEST_CELL)
