"""What every foundation refuses to be asked about, checked in one place."""

from collections.abc import Sequence, Set

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from committee.errors import StructureError, UnknownElementError

_SHORTEST_VECTOR_A = 1e-3
_FLATTEST_CELL = 1e-6  # volume over the product of the lattice vectors' lengths


def check_structures(frames: Sequence[Atoms], elements: Set[int]) -> None:
    """Refuse frames that no model with these elements could answer for.

    Args:
        frames: B frames.
        elements: atomic numbers that the foundation was trained on.

    Raises:
        StructureError: no frames, a frame without atoms, NaN or infinite positions or cell, or periodic
            directions whose lattice vectors span nothing.
        UnknownElementError: a frame holds an element outside ``elements``.
    """
    if len(frames) == 0:
        raise StructureError("Got no frames; give at least one structure.")
    for index, atoms in enumerate(frames):
        _check_numbers(index, atoms)
        _check_cell(index, atoms)
        _check_elements(index, atoms, elements)


def _check_numbers(index: int, atoms: Atoms) -> None:
    if len(atoms) == 0:
        raise StructureError(f"Frame {index} has no atoms; leave it out or check the file it came from.")
    bad = np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))
    if len(bad):
        raise StructureError(
            f"Frame {index} has NaN or infinite positions at atoms {_shorten(bad)}; "
            "expected finite numbers in Å. If it came from MD, the trajectory blew up before this frame."
        )
    if not np.isfinite(atoms.cell.array).all():
        raise StructureError(f"Frame {index} has NaN or infinite numbers in its cell; expected finite numbers in Å.")


def _check_cell(index: int, atoms: Atoms) -> None:
    vectors = atoms.cell.array[atoms.pbc]
    lengths = np.linalg.norm(vectors, axis=1)
    gram = np.linalg.det(vectors @ vectors.T) if len(vectors) else 1.0
    spanned = np.sqrt(max(gram, 0.0))
    if (lengths < _SHORTEST_VECTOR_A).any() or spanned < _FLATTEST_CELL * lengths.prod():
        raise StructureError(
            f"Frame {index} is periodic in {_directions(atoms)} but its cell {atoms.cell.array.tolist()} "
            "spans no volume there; set pbc to False in those directions or give a cell."
        )


def _check_elements(index: int, atoms: Atoms, elements: Set[int]) -> None:
    unknown = sorted(set(atoms.numbers.tolist()) - elements)
    if unknown:
        raise UnknownElementError(
            f"Frame {index} holds {', '.join(chemical_symbols[z] for z in unknown)}, which this foundation "
            f"does not know. It knows {' '.join(chemical_symbols[z] for z in sorted(elements))}. "
            "Choose a foundation trained on all elements of the system."
        )


def _directions(atoms: Atoms) -> str:
    return ", ".join(axis for axis, periodic in zip("abc", atoms.pbc, strict=True) if periodic)


def _shorten(indices: np.ndarray) -> str:
    shown = ", ".join(str(i) for i in indices[:5])
    return shown if len(indices) <= 5 else f"{shown}, ... ({len(indices)} in all)"  # noqa: PLR2004
