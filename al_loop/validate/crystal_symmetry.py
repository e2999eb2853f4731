"""Rotations that leave a crystal as it is, and which elastic constants they leave free."""

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

Array = NDArray[np.float64]

METRIC = 2e-3  # lengths and angles of a cell that agree within this are equal
WELL_DETERMINED = 0.4  # smallest singular value; with all six strains it is 1
SAME_CONSTANT = 1e-2  # rows of a basis that agree within this belong to the same constant
SAME_A = 0.02  # atoms that agree within this are at one place
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))  # xx yy zz yz xz xy, as ASE has it
_INDEX = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
_PAIRS = [(i, j) for i in range(6) for j in range(i, 6)]


def rotations(atoms: Atoms) -> list[Array]:
    """Return the (3, 3) rotations and reflections under which a crystal is the same.

    Lattice vectors are looked for among sums and differences of the given ones: in a cell that is far from reduced
    some are missed, which costs calculations and no correctness.

    Args:
        atoms: periodic in three directions; magnetic moments that differ make atoms different.
    """
    cell = atoms.cell.array
    metric = cell @ cell.T
    small = np.array(list(product((-1, 0, 1), repeat=3)))
    inner = small @ metric @ small.T
    slack = METRIC * float(metric.diagonal().max())
    first, second, third = (np.flatnonzero(np.abs(inner.diagonal() - metric[i, i]) < slack) for i in range(3))
    fits = (
        (np.abs(inner[np.ix_(first, second)] - metric[0, 1]) < slack)[:, :, None]
        & (np.abs(inner[np.ix_(first, third)] - metric[0, 2]) < slack)[:, None]
        & (np.abs(inner[np.ix_(second, third)] - metric[1, 2]) < slack)[None]
    )
    kinds = _kinds(atoms)
    fractions = atoms.get_scaled_positions()
    found = []
    for i, j, k in np.argwhere(fits):
        turned = small[[first[i], second[j], third[k]]]
        if _maps(turned, fractions, kinds, cell):
            found.append(np.linalg.solve(cell, turned @ cell).T)
    return found


def free_constants(operations: Sequence[Array]) -> Array:
    """Return a basis (d, 6, 6) of the elastic tensors that are the same under all operations, in Voigt order.

    Args:
        operations: (3, 3) each.
    """
    identity = np.eye(len(_PAIRS))
    changed = np.concatenate([_rotated(operation) - identity for operation in operations])
    _, singular, rows = np.linalg.svd(changed)
    null = rows[singular < SAME_CONSTANT] if len(singular) == len(rows) else rows
    return np.array([_matrix(row) for row in null])


def telling_strains(basis: Array) -> list[int]:
    """Choose Voigt strains that together determine every free constant well, as few as can be.

    Args:
        basis: (d, 6, 6).
    """
    for count in range(1, 6):
        weakest = {chosen: _weakest(basis[:, :, chosen]) for chosen in combinations(range(6), count)}
        best = max(weakest, key=lambda chosen: round(weakest[chosen], 6))
        if weakest[best] > WELL_DETERMINED:
            return list(best)
    return list(range(6))


def _weakest(columns: Array) -> float:
    """How much of the least visible combination of constants the stresses of some strains show."""
    flat = columns.reshape(len(columns), -1)
    return float(np.linalg.svd(flat, compute_uv=False)[-1]) if flat.shape[1] >= len(flat) else 0.0


def distinct_constants(basis: Array) -> list[tuple[int, int]]:
    """Name the constants (i, j), i ≤ j, that are neither zero nor equal to an earlier one by symmetry.

    Args:
        basis: (d, 6, 6).
    """
    seen: list[Array] = []
    names = []
    for i, j in _PAIRS:
        row = basis[:, i, j]
        if np.abs(row).max() > SAME_CONSTANT and not any(
            min(np.abs(row - other).max(), np.abs(row + other).max()) < SAME_CONSTANT for other in seen
        ):
            seen.append(row)
            names.append((i, j))
    return names


def _kinds(atoms: Atoms) -> NDArray[np.int64]:
    moments = np.reshape(atoms.get_initial_magnetic_moments(), (len(atoms), -1)).round(2)
    rows = np.hstack([atoms.numbers[:, None], moments])
    return np.asarray(np.unique(rows, axis=0, return_inverse=True)[1]).reshape(-1)


def _maps(turned: NDArray[np.int64], fractions: Array, kinds: NDArray[np.int64], cell: Array) -> bool:
    """Whether some translation puts every turned atom on one of its kind."""
    # A point with fractions f in the old vectors goes to the same fractions in the new ones, rows of turned @ cell.
    moved = fractions @ turned
    rarest = np.bincount(kinds).argmin()
    where = np.flatnonzero(kinds == rarest)
    return any(_coincide(moved + fractions[other] - moved[where[0]], fractions, kinds, cell) for other in where)


def _coincide(moved: Array, fractions: Array, kinds: NDArray[np.int64], cell: Array) -> bool:
    apart = moved[:, None] - fractions[None]
    apart -= apart.round()
    near = (np.linalg.norm(apart @ cell, axis=2) < SAME_A) & (kinds[:, None] == kinds[None])
    return bool(near.any(axis=1).all())


def _rotated(operation: Array) -> Array:
    """(21, 21): how the constants change under a rotation."""
    each = np.array([_matrix(row) for row in np.eye(len(_PAIRS))])
    tensors = each[:, _INDEX[:, :, None, None], _INDEX[None, None]]
    for _ in range(4):  # one index after another: each turn brings the next to the last place
        tensors = np.einsum("ai,njkli->najkl", operation, tensors)
    rows, columns = np.array(VOIGT)[[i for i, _ in _PAIRS]], np.array(VOIGT)[[j for _, j in _PAIRS]]
    changed: Array = tensors[:, rows[:, 0], rows[:, 1], columns[:, 0], columns[:, 1]].T
    return changed


def _matrix(row: Array) -> Array:
    matrix = np.zeros((6, 6))
    for value, (i, j) in zip(row, _PAIRS, strict=True):
        matrix[i, j] = matrix[j, i] = value
    return matrix
