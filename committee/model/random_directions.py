"""Directions of a frame's tangents: every coordinate, or a few random displacements."""

import hashlib

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from committee.settings import TrainingSettings


def is_exact(n_atoms: int, settings: TrainingSettings) -> bool:
    """Whether the tangents of a frame cover every coordinate, also if random directions would cost as much."""
    return n_atoms <= settings.exact_up_to_atoms or settings.random_directions >= 3 * n_atoms


def sketch_of(atoms: Atoms, structure: str, settings: TrainingSettings) -> NDArray[np.float32]:
    """Draw Gaussian displacements (m, n, 3) of a frame; none, (0, n, 3), where tangents are exact.

    For an error e of the forces and v ~ N(0, 1) the mean of (e·v)² is |e|²: a few directions give the squared loss
    without bias, and no other loss. The directions depend only on the structure, so that a retraining uses the same.

    Args:
        atoms: the frame of n atoms.
        structure: hash of the structure, the random seed.
        settings: threshold and number of directions.
    """
    n_atoms = len(atoms)
    if is_exact(n_atoms, settings):
        return np.zeros((0, n_atoms, 3), dtype=np.float32)
    seed = int.from_bytes(hashlib.sha256(f"sketch {structure}".encode()).digest()[:8], "little")
    generator = np.random.default_rng(seed)
    return generator.standard_normal((settings.random_directions, n_atoms, 3)).astype(np.float32)
