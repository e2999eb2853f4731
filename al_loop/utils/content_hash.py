"""Content hashes: the same structure has the same id in every process, campaign and atom order."""

import hashlib
from typing import Any, Final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

GRID_A: Final = 1e-4
# Golden ratio: the number that fractions approximate worst.
GRID_OFFSET: Final = (np.sqrt(5.0) - 1.0) / 2.0
_ID_DIGITS: Final = 32
_NAN: Final = -(2**62) - 1
_LIMIT: Final = 2.0**62


def frame_id(atoms: Atoms) -> str:
    """SHA-256 (32 hex digits) of all that a calculation depends on, except for the level of theory.

    Structure (numbers, positions, cell, pbc), total charge (``atoms.info["charge"]``, default 0), spin multiplicity
    (``atoms.info["spin"]``, default None) and initial magnetic moments. The order of atoms, the sign of zero, the
    process and other entries of ``atoms.info`` have no effect. Atoms are not wrapped into the cell.

    Real numbers are compared on a grid of 1e-4 Å (μB, e). A value next to a grid edge could change its cell through
    float noise, so the edges are shifted by the golden ratio: a multiple of 1e-4/q Å is at least 1e-4/(√5 q²) Å away
    from every edge, and values with up to nine decimals (0.5, 0.00005, 1.23455) more than 1e-10 Å. Noise of ±1e-10 Å
    still moves an arbitrary coordinate over an edge with a probability of 1e-6 (2e-4 for a frame of 64 atoms),
    rounding errors of 1e-14 Å with 1e-10. Then one label is calculated twice, never a wrong one used.

    Args:
        atoms: the structure, non-finite positions allowed (every NaN is the same).
    """
    rows = _rows(atoms)
    digest = hashlib.sha256(b"al-loop frame 1\n")
    info = [_number(atoms.info.get("charge", 0)), _number(atoms.info.get("spin"))]
    for block in (
        np.array(rows.shape),
        rows[np.lexsort(rows.T)],
        _on_grid(atoms.cell.array),
        atoms.pbc,
        np.array(info),
    ):
        digest.update(np.ascontiguousarray(block, dtype="<i8").tobytes())
    return digest.hexdigest()[:_ID_DIGITS]


def canonical_order(atoms: Atoms) -> NDArray[np.int64]:
    """Indices (n,) that sort the atoms independently of their order in memory.

    Two structures with the same ``frame_id`` hold the same atom at the same rank; atoms that share a rank with
    another one are of the same kind at the same place.
    """
    order: NDArray[np.int64] = np.lexsort(_rows(atoms).T)
    return order


def matching_order(atoms: Atoms, other: Atoms) -> NDArray[np.int64]:
    """Indices (n,) that put the atoms of a structure in the order of another one with the same ``frame_id``."""
    order = np.empty(len(atoms), dtype=np.int64)
    order[canonical_order(other)] = canonical_order(atoms)
    return order


def request_id(frame: str, level_of_theory: str) -> str:
    """SHA-256 (32 hex digits) of a frame's id and the fingerprint of a level of theory."""
    return content_id("request", frame, level_of_theory)


def content_id(*parts: object) -> str:
    """SHA-256 (32 hex digits) of the texts of several parts, with their lengths."""
    texts = [str(part) for part in parts]
    text = "".join(f"{len(part)}:{part}" for part in texts)
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS]


def _rows(atoms: Atoms) -> NDArray[np.int64]:
    """One row of integers for each atom: number, position, magnetic moment (none if all are zero)."""
    count = len(atoms)
    moments = _on_grid(np.reshape(atoms.get_initial_magnetic_moments(), (count, -1 if count else 1)))
    if (moments == _on_grid(np.zeros(1))).all():
        moments = moments[:, :0]
    numbers = np.asarray(atoms.numbers, dtype=np.int64)[:, None]
    return np.hstack([numbers, _on_grid(atoms.positions), moments])


def _on_grid(values: NDArray[Any]) -> NDArray[np.int64]:
    scaled = np.floor(np.asarray(values, dtype=np.float64) / GRID_A + GRID_OFFSET)
    cells = np.clip(np.nan_to_num(scaled, nan=0.0), -_LIMIT, _LIMIT).astype(np.int64)
    return np.where(np.isnan(scaled), _NAN, cells)


def _number(value: float | None) -> int:
    return _NAN - 1 if value is None else int(_on_grid(np.array([value]))[0])
