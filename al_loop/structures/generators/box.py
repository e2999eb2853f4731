"""Molecules in a box."""

import numpy as np
from ase import Atoms
from ase.geometry import get_distances
from scipy.spatial.transform import Rotation

from al_loop.config.generator_settings import BoxSettings
from al_loop.errors import InputError
from al_loop.frames.constraints.building import refuse_anchored, refuse_any

TRIES = 200  # random places of one copy


def box(settings: BoxSettings, atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Put a molecule in the middle of a cubic box, or several copies at random places and orientations.

    Raises:
        InputError: the structure is periodic, the box is too small, or constraints cannot be kept.
    """
    if atoms.pbc.any():
        raise InputError("the structure is periodic; a box is for a molecule without a cell")
    span = float(np.ptp(atoms.positions, axis=0).max())
    if span + settings.min_distance_A > settings.edge_A:
        raise InputError(
            f"edge_A: received {settings.edge_A:g}, but the molecule spans {span:.1f} Å and needs"
            f" {span + settings.min_distance_A:.1f} Å"
        )
    cell = np.full(3, settings.edge_A)
    if settings.copies == 1:
        refuse_anchored(atoms)
        placed = atoms.copy()
        placed.set_cell(cell)
        placed.pbc = settings.periodic
        placed.center()
        return placed
    refuse_any(atoms, "the molecule", "which copies cannot keep when they are placed and rotated at random")
    placed = Atoms(cell=cell, pbc=settings.periodic)
    for _ in range(settings.copies):
        placed.extend(_fitting(settings, atoms, placed, rng))
    return placed


def _fitting(settings: BoxSettings, molecule: Atoms, placed: Atoms, rng: np.random.Generator) -> Atoms:
    shape = molecule.positions - molecule.positions.mean(axis=0)
    for _ in range(TRIES):
        rotated = Rotation.random(rng=rng).apply(shape)
        low, high = (0.0, settings.edge_A) if settings.periodic else (-rotated.min(0), settings.edge_A - rotated.max(0))
        copy = molecule.copy()
        copy.positions = rotated + rng.uniform(low, high, 3)
        if not len(placed) or _apart(copy, placed) >= settings.min_distance_A:
            return copy
    raise InputError(
        f"{settings.copies} copies do not fit into a box of {settings.edge_A:g} Å with {settings.min_distance_A:g} Å"
        " between them; enlarge edge_A, or lower copies or min_distance_A"
    )


def _apart(copy: Atoms, placed: Atoms) -> float:
    return float(get_distances(copy.positions, placed.positions, cell=placed.cell, pbc=placed.pbc)[1].min())
