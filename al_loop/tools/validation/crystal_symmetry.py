"""The symmetry of a crystal (spglib), and which elastic constants it leaves free."""

import warnings
from collections.abc import Sequence
from importlib import import_module
from itertools import combinations
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.errors import NoAnswerError

Array = NDArray[np.float64]

WELL_DETERMINED = 0.4  # smallest singular value; with all six strains it is 1
SAME_CONSTANT = 1e-2  # rows of a basis that agree within this belong to the same constant
SAME_PLACE_A = 0.01  # spglib's symprec
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))  # xx yy zz yz xz xy, as ASE has it
_INDEX = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
_PAIRS = [(i, j) for i in range(6) for j in range(i, 6)]


def library(module: str) -> Any:
    """Import a module of pymatgen or spglib; raises ``NoAnswerError`` if it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise NoAnswerError(f"needs {error.name}; pip install 'al-loop[validation]'") from error


def symmetry(atoms: Atoms) -> Any:
    """The symmetry dataset that spglib finds, initial magnetic moments told apart; None without any.

    Raises:
        NoAnswerError: spglib is not installed.
    """
    moments = np.reshape(atoms.get_initial_magnetic_moments(), (len(atoms), -1)).round(2)
    kinds = np.unique(np.hstack([atoms.numbers[:, None], moments]), axis=0, return_inverse=True)[1].ravel()
    with warnings.catch_warnings(action="ignore"):  # spglib announces how it will report errors one day
        cell = (atoms.cell.tolist(), atoms.get_scaled_positions().tolist(), kinds.tolist())
        return library("spglib").get_symmetry_dataset(cell, SAME_PLACE_A)


def rotations(atoms: Atoms) -> list[Array]:
    """Return the (3, 3) rotations and reflections under which a periodic crystal and its moments are the same."""
    found, axes = symmetry(atoms), atoms.cell.array.T
    if found is None:
        return [np.eye(3)]
    return [axes @ rotation @ np.linalg.inv(axes) for rotation in np.unique(found.rotations, axis=0)]


def free_constants(operations: Sequence[Array]) -> Array:
    """Return a basis (d, 6, 6) of the elastic tensors, in Voigt order, that all (3, 3) operations leave the same."""
    identity = np.eye(len(_PAIRS))
    changed = np.concatenate([_rotated(operation) - identity for operation in operations])
    _, singular, rows = np.linalg.svd(changed)
    null = rows[singular < SAME_CONSTANT] if len(singular) == len(rows) else rows
    return np.array([_matrix(row) for row in null])


def determining_strains(basis: Array) -> list[int]:
    """Choose Voigt strains that together determine every free constant of a basis well, as few as can be."""
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
    """Name the constants (i, j), i ≤ j, that are neither zero nor equal to an earlier one by symmetry."""
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
