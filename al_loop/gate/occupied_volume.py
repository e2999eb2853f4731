"""Volume of the region that atoms occupy: a slab without its vacuum, a molecule without its box."""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

REACH_A = 1.2  # beyond the covalent radius: neighbouring balls in a liquid or solid leave no gaps
POINTS = 48  # in each ball


def occupied_volume_A3(atoms: Atoms) -> float:
    """Volume of the union of balls of covalent radius + ``REACH_A`` around the atoms of one cell, Å³.

    A point that c balls share counts 1 / c in each of them, and the points of a ball represent its volume. The result
    is the cell's volume in dense matter and the sum of the balls in a gas, for any periodicity.
    """
    radii = covalent_radii[atoms.numbers] + REACH_A
    first, second, offset = neighbor_list("ijD", atoms, radii)
    reach = radii[second] ** 2
    share = np.zeros(len(atoms))
    for point in _UNIT_BALL:
        distance = radii[first, None] * point - offset
        inside = np.einsum("px,px->p", distance, distance) < reach
        share += 1 / (1 + np.bincount(first[inside], minlength=len(atoms)))
    return float(4 / 3 * np.pi * radii**3 @ share / POINTS)


def _unit_ball() -> NDArray[np.float64]:
    """Evenly spread points (POINTS, 3): a golden spiral whose radii are taken in an order that mixes the shells."""
    number = np.arange(POINTS)
    height = 1 - (2 * number + 1) / POINTS
    angle = np.pi * (3 - np.sqrt(5)) * number
    around = np.sqrt(1 - height**2)
    sphere = np.stack([around * np.cos(angle), around * np.sin(angle), height], axis=1)
    shells = (0.5 + number * 29 % POINTS) / POINTS
    return np.asarray(sphere * shells[:, None] ** (1 / 3))


_UNIT_BALL = _unit_ball()
