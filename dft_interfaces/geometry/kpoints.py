"""k-point meshes from a density, so that cells of different size are sampled alike."""

import math

import numpy as np
from ase import Atoms


def kpoint_mesh(atoms: Atoms, density_A: float) -> tuple[int, int, int]:
    """Return the mesh with k-points times lattice spacing of at least ``density_A`` (Å) along each axis.

    The spacing is that of the lattice planes, so that skewed cells get no fewer points than straight ones. A direction
    that is not periodic has one point.
    """
    per_A = np.linalg.norm(atoms.cell.reciprocal().array, axis=1) * atoms.pbc  # zero where there is no lattice vector
    x, y, z = (max(1, math.ceil(density_A * planes_per_A - 1e-9)) for planes_per_A in per_A)
    return x, y, z
