"""Degrees of freedom under constraints of single atoms, and constraints merged so that none overlap."""

from typing import Final

import numpy as np
from ase import Atoms
from ase.constraints import (
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixConstraint,
    FixedLine,
    FixedPlane,
    FixLinearTriatomic,
    FixScaled,
)
from numpy.typing import NDArray

PER_ATOM: Final = (FixAtoms, FixCartesian, FixScaled, FixedLine, FixedPlane)
"""Kinds that hold single atoms, each in its own directions."""
HELD: Final = 1e-8  # eigenvalue above which a direction is held
ALONG_AN_AXIS: Final = 1e-12

Array = NDArray[np.float64]


def effective(atoms: Atoms) -> list[FixConstraint]:
    """The constraints of a structure that act on an atom: some file readers create empty ones."""
    return [c for c in atoms.constraints if type(c) not in PER_ATOM or len(c.index)]


def held_directions(atoms: Atoms) -> Array:
    """Sum of the projectors onto the directions held by constraints of single atoms (n, 3, 3); zero for a free atom.

    ``FixScaled``, from selective dynamics of a POSCAR, holds fractional coordinates: an atom moves along the remaining
    lattice vectors. ASE projects its velocities and forces correctly in orthogonal cells only.
    """
    held = np.zeros((len(atoms), 3, 3))
    for constraint in atoms.constraints:
        if type(constraint) in PER_ATOM and len(constraint.index):
            held[constraint.index] += _projector(constraint, atoms)
    return held


def held_projectors(atoms: Atoms) -> Array:
    """Projectors onto the directions in which each atom is held (n, 3, 3)."""
    values, vectors = np.linalg.eigh(held_directions(atoms))
    projectors: Array = np.einsum("nik,nk,njk->nij", vectors, (values > HELD).astype(float), vectors)
    return projectors


def free_directions(atoms: Atoms) -> NDArray[np.int64]:
    """Number of directions in which each atom may move (n,), from 0 to 3."""
    count: NDArray[np.int64] = (np.linalg.eigvalsh(held_directions(atoms)) < HELD).sum(axis=1)
    return count


def merged(atoms: Atoms) -> list[FixConstraint]:
    """The constraints of a structure as new objects of which no two hold the same atom in the same direction.

    Only then ASE's degrees of freedom are correct and independent of the order in which it applies constraints. A
    ``FixScaled`` becomes ``FixAtoms``, ``FixCartesian``, ``FixedLine`` or ``FixedPlane`` in the structure's cell; bond
    lengths without a value are those of the structure. Unsupported kinds stay as they are.

    Args:
        atoms: the structure; not modified.
    """
    found = _per_atom(held_directions(atoms))
    bonds = _bonds(atoms)
    if bonds is not None:
        found.append(bonds)
    triples = [triple for c in atoms.constraints if type(c) is FixLinearTriatomic for triple in c.triples.tolist()]
    if triples:
        found.append(_started(FixLinearTriatomic(triples), atoms))
    if any(type(c) is FixCom for c in atoms.constraints):
        found.append(FixCom())
    done = (*PER_ATOM, FixBondLengths, FixLinearTriatomic, FixCom)
    return found + [constraint.copy() for constraint in atoms.constraints if type(constraint) not in done]


def _projector(constraint: FixConstraint, atoms: Atoms) -> Array:
    if isinstance(constraint, FixAtoms):
        return np.eye(3)
    if isinstance(constraint, FixCartesian):
        return np.diag(constraint.mask.astype(float))
    if isinstance(constraint, FixedLine):
        return np.eye(3) - np.outer(constraint.dir, constraint.dir)
    if isinstance(constraint, FixedPlane):
        return np.outer(constraint.dir, constraint.dir)
    free = np.linalg.qr(atoms.cell.complete().array[~constraint.mask].T)[0]
    projector: Array = np.eye(3) - free @ free.T
    return projector


def _per_atom(held: Array) -> list[FixConstraint]:
    values, vectors = np.linalg.eigh(held)  # ascending: free directions come first
    free = (values < HELD).sum(axis=1)
    groups: dict[tuple[str, tuple[float, ...]], list[int]] = {}
    for index in np.flatnonzero(free < 3).tolist():  # noqa: PLR2004 - of three directions
        kind = ("FixAtoms", "FixedLine", "FixedPlane")[free[index]]
        direction = np.zeros(3) if kind == "FixAtoms" else vectors[index, :, 0 if kind == "FixedLine" else 2]
        groups.setdefault((kind, _rounded(direction)), []).append(index)
    return [_constraint(kind, indices, np.array(direction)) for (kind, direction), indices in groups.items()]


def _constraint(kind: str, indices: list[int], direction: Array) -> FixConstraint:
    if kind == "FixAtoms":
        return FixAtoms(indices)
    if np.abs(direction).max() > 1 - ALONG_AN_AXIS:  # exact to the last bit, as a projection is not
        along = np.abs(direction) > 0.5  # noqa: PLR2004
        return FixCartesian(indices, ~along if kind == "FixedLine" else along)
    return (FixedLine if kind == "FixedLine" else FixedPlane)(indices, direction)


def _rounded(direction: Array) -> tuple[float, ...]:
    """A direction that groups equal ones: to twelve digits, with a definite sign."""
    rounded = np.round(direction, 12)
    if rounded[np.argmax(np.abs(rounded))] < 0:
        rounded = -rounded
    return tuple((rounded + 0.0).tolist())


def _bonds(atoms: Atoms) -> FixBondLengths | None:
    lengths: dict[tuple[int, int], float] = {}
    tolerances = []
    for constraint in atoms.constraints:
        if type(constraint) is not FixBondLengths:
            continue
        tolerances.append(constraint.tolerance)
        known = constraint.bondlengths
        known = constraint.initialize_bond_lengths(atoms) if known is None else known
        for pair, length in zip((constraint.pairs % len(atoms)).tolist(), known, strict=True):
            lengths[min(pair), max(pair)] = float(length)
    if not lengths:
        return None
    return FixBondLengths(list(lengths), min(tolerances), np.array(list(lengths.values())))


def _started(constraint: FixLinearTriatomic, atoms: Atoms) -> FixLinearTriatomic:
    constraint.initialize(atoms)
    return constraint
