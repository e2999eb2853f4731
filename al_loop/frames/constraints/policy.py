"""Which constraints are supported in which motion, and the messages that refuse the others."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.constraints import (
    FixBondLengths,
    FixCom,
    FixConstraint,
    FixLinearTriatomic,
    Hookean,
)
from ase.geometry import find_mic
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from al_loop.errors import InputError
from al_loop.frames.constraints.degrees_of_freedom import PER_ATOM, effective, free_directions, merged

RIGID: Final = (FixBondLengths, FixLinearTriatomic)
KEEPING: Final = (*PER_ATOM, *RIGID, FixCom)


class Motion(Enum):
    """Kind of motion of atoms; the value is its name in messages."""

    DYNAMICS = "dynamics at a fixed cell"
    RELAXATION = "an exploring relaxation"
    CELL = "a motion of the cell"
    COMPARISON = "a relaxation whose energy is compared"
    PATH = "a nudged elastic band"


def motion_of(ensemble: str, *, relax_cell: bool = False) -> Motion:
    """The motion of an ensemble of ``explore``."""
    if ensemble == "npt" or (ensemble == "relax" and relax_cell):
        return Motion.CELL
    return Motion.RELAXATION if ensemble == "relax" else Motion.DYNAMICS


FOLLOWED: Final[dict[Motion, tuple[type[FixConstraint], ...]]] = {
    Motion.DYNAMICS: (*KEEPING, Hookean),
    Motion.RELAXATION: (*KEEPING, Hookean),
    Motion.CELL: (),
    Motion.COMPARISON: KEEPING,
    Motion.PATH: PER_ATOM,
}
"""Measured: each of these conserves the total energy of ASE's velocity Verlet and gives velocities of the correct
temperature, FixScaled only in the form of ``merged``."""

_WHY: Final = {
    "FixInternals": "ASE projects the drift and rotation of the whole structure out with it and weighs no masses, so "
    "that temperatures and energies come out wrong; bonds can be fixed with FixBondLengths",
    "FixedMode": "ASE weighs no masses in it and counts its degrees of freedom wrong",
    "ExternalForce": "ASE adds its force to momenta as well",
    "FixSubsetCom": "ASE moves all atoms to hold the centre of some",
}
_WHY_NOT_IN: Final = {
    Motion.CELL: "atoms that are held would be carried along with the cell",
    Motion.COMPARISON: "its energy would be missing in what is compared",
    Motion.PATH: "a band follows constraints of single atoms only",
}


def refusal(atoms: Atoms, motion: Motion, remedy: str = "") -> str | None:
    """Return why a structure's constraints are not supported, or None.

    Args:
        atoms: the structure.
        motion: of the structure.
        remedy: alternative to removing the constraint; a clause.

    Returns:
        A sentence without its subject (the structure): "holds FixInternals, which ...".
    """
    return next(_objections(atoms, motion, remedy), None) if atoms.constraints else None


def followed(atoms: Atoms, motion: Motion) -> list[FixConstraint]:
    """The constraints of a structure in the form in which they are applied (``merged``), as new objects.

    Args:
        atoms: the structure, which satisfies them; not modified.
        motion: of the structure.

    Raises:
        InputError: they are not supported.
    """
    objection = refusal(atoms, motion)
    if objection is not None:
        raise InputError(f"the structure {atoms.get_chemical_formula()} {objection}")
    return merged(atoms)


def check_followed(atoms: Atoms, motion: Motion, name: str, remedy: str = "") -> None:
    """Check that the constraints are supported in a motion.

    Args:
        atoms: the structure.
        motion: of the structure.
        name: of the structure, for the message, for example its file.
        remedy: as for ``refusal``.

    Raises:
        InputError: they are not; the message names the structure and the constraint.
    """
    objection = refusal(atoms, motion, remedy)
    if objection is not None:
        raise InputError(f"{name} {objection}")


def degrees_of_freedom(atoms: Atoms) -> int:
    """Number of degrees of freedom of a structure: 3 per atom minus those that constraints hold, each counted once.

    Unsupported kinds count as in ASE.
    """
    if not atoms.constraints:
        return 3 * len(atoms)
    removed = 0
    for constraint in merged(atoms):
        if type(constraint) not in PER_ATOM:
            with suppress(NotImplementedError):
                removed += int(constraint.get_removed_dof(atoms))
    return max(0, int(free_directions(atoms).sum()) - removed)


def moving_atoms(atoms: Atoms) -> int:
    """Number of atoms that can move."""
    return int((free_directions(atoms) > 0).sum()) if atoms.constraints else len(atoms)


def named(constraints: Sequence[FixConstraint]) -> str:
    """Kinds of constraints with the number of atoms that each holds: ``FixAtoms (8 atoms)``."""
    atoms_of: dict[str, set[int]] = {}
    for constraint in constraints:
        atoms_of.setdefault(type(constraint).__name__, set()).update(_indices(constraint))
    return ", ".join(f"{kind}{_count(len(atoms))}" for kind, atoms in atoms_of.items())


def no_such_atom(atoms: Atoms) -> str:
    """Message, as of ``refusal``, for a constraint of an atom that the structure does not have; empty if none."""
    beyond = [index for c in atoms.constraints for index in _indices(c) if not -len(atoms) <= index < len(atoms)]
    if not beyond:
        return ""
    return f"has a constraint of atom {beyond[0]}, but only the atoms 0 to {len(atoms) - 1}; correct its file"


def _objections(atoms: Atoms, motion: Motion, remedy: str) -> Iterator[str]:
    or_remedy = f"; {remedy}, or remove it from the file" if remedy else "; remove it from the file"
    beyond = no_such_atom(atoms)
    if beyond:
        yield beyond
        return
    constraints = effective(atoms)
    for constraint in constraints:
        kind = type(constraint)
        if not any(kind in kinds for kinds in FOLLOWED.values()):
            why = f": {_WHY[kind.__name__]}" if kind.__name__ in _WHY else ""
            yield f"holds {kind.__name__}, which nothing here follows{why}; remove it from the file"
    lost = [c for c in constraints if type(c) not in FOLLOWED[motion]]
    if lost:
        yield f"holds {named(lost)}, which {motion.value} cannot follow: {_WHY_NOT_IN[motion]}{or_remedy}"
    if motion is Motion.CELL:
        return
    yield from _contradictions(atoms)
    if degrees_of_freedom(atoms) == 0:
        yield f"holds every atom ({named(constraints)}), so that nothing would move; free at least one atom in the file"


def _contradictions(atoms: Atoms) -> Iterator[str]:
    """Constraints that ASE cannot satisfy together: a later one violates an earlier one."""
    held = set(np.flatnonzero(free_directions(atoms) < 3).tolist())  # noqa: PLR2004 - of three directions
    rigid = [c for c in atoms.constraints if type(c) in RIGID]
    others = {kind.__name__ for c in atoms.constraints if (kind := type(c)) in PER_ATOM}
    kinds = " and ".join(sorted(others))
    if held and any(type(c) is FixCom for c in atoms.constraints):
        yield f"holds FixCom beside {kinds}: the centre of mass cannot be held among fixed atoms; remove one of them"
    taken: dict[int, FixConstraint] = {}
    for constraint in rigid:
        for index in _indices(constraint):
            if index in held:
                yield (
                    f"holds atom {index} by {type(constraint).__name__} and by {kinds}, which ASE cannot satisfy "
                    "together; remove one of them"
                )
                return
            if type(taken.setdefault(index, constraint)) is not type(constraint):
                yield f"holds atom {index} by FixBondLengths and by FixLinearTriatomic; remove one of them"
                return
    for bonds in _rigid_parts(atoms):
        if np.linalg.matrix_rank(_bond_directions(atoms, bonds), tol=1e-6) < len(bonds):
            yield (
                f"holds the {len(bonds)} bonds among atoms {np.unique(bonds).tolist()[:8]} by FixBondLengths, some of "
                "which follow from the others, so that RATTLE cannot satisfy them; remove those"
            )


def _rigid_parts(atoms: Atoms) -> Iterator[NDArray[np.int64]]:
    """Bonds of fixed length (b, 2), one connected group at a time."""
    for constraint in merged(atoms):
        if type(constraint) is FixBondLengths:
            first, second = constraint.pairs.T
            graph = coo_matrix((np.ones(len(first)), (first, second)), shape=(len(atoms), len(atoms)))
            part = connected_components(graph, directed=False)[1][first]
            for number in np.unique(part):
                yield constraint.pairs[part == number]


def _bond_directions(atoms: Atoms, bonds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Gradient of each bond's length with respect to the positions of its atoms (bonds, 3 x atoms)."""
    vectors = find_mic(atoms.positions[bonds[:, 0]] - atoms.positions[bonds[:, 1]], atoms.cell, atoms.pbc)[0]
    named_atoms, column = np.unique(bonds, return_inverse=True)
    column = column.reshape(bonds.shape)
    gradients = np.zeros((len(bonds), len(named_atoms), 3))
    rows = np.arange(len(bonds))
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    gradients[rows, column[:, 0]], gradients[rows, column[:, 1]] = unit, -unit
    return gradients.reshape(len(bonds), -1)


def _indices(constraint: Any) -> list[int]:
    if isinstance(constraint, FixCom) or not hasattr(constraint, "get_indices"):
        return list(getattr(constraint, "indices", []))
    return [int(index) for index in np.atleast_1d(np.asarray(constraint.get_indices(), dtype=int))]


def _count(atoms: int) -> str:
    return "" if not atoms else " (1 atom)" if atoms == 1 else f" ({atoms} atoms)"
