"""Constraints of structures that are built from others by repetition, removal or addition of atoms."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCom, FixConstraint, Hookean
from numpy.typing import NDArray

from al_loop.errors import InputError
from al_loop.frames.constraints.degrees_of_freedom import PER_ATOM, effective
from al_loop.frames.constraints.policy import named, no_such_atom


def resolved(atoms: Atoms) -> Atoms:
    """The same structure with non-negative constraint indices only, so that atoms may be appended.

    Raises:
        InputError: a constraint of an atom that does not exist.
    """
    beyond = no_such_atom(atoms)
    if beyond:
        raise InputError(f"the structure {atoms.get_chemical_formula()} {beyond}")
    for constraint in atoms.constraints:
        if type(constraint) in PER_ATOM:
            constraint.index = np.arange(len(atoms))[constraint.index]
    return atoms


def repeated(atoms: Atoms, repeats: tuple[int, int, int]) -> Atoms:
    """A supercell with the constraints of the cell on all copies.

    Raises:
        InputError: a constraint cannot be repeated.
    """
    if tuple(repeats) == (1, 1, 1):
        return atoms.copy()
    other = [c for c in atoms.constraints if type(c) not in (*PER_ATOM, FixCom)]
    if other:
        raise InputError(
            f"the structure {atoms.get_chemical_formula()} holds {named(other)}, which is not known in the other cells "
            f"of {' x '.join(map(str, repeats))} repeats; repeat the structure in its file, or remove the constraint"
        )
    cell = resolved(atoms.copy())
    centred = [c for c in cell.constraints if type(c) is FixCom]
    cell.set_constraint([c for c in cell.constraints if type(c) is not FixCom])
    supercell = cell.repeat(repeats)
    supercell.set_constraint([*supercell.constraints, *centred])
    return supercell


def without(atoms: Atoms, indices: NDArray[np.int64]) -> Atoms:
    """A structure without some atoms and their constraints.

    Raises:
        InputError: a constraint cannot be restricted to the remaining atoms.
    """
    centred = [c for c in atoms.constraints if type(c) is FixCom]
    kept = np.delete(np.arange(len(atoms)), indices)
    for constraint in (c for c in atoms.constraints if type(c) is not FixCom):
        try:
            constraint.copy().index_shuffle(atoms, kept)
        except IndexError:
            continue  # it held none of the remaining atoms
        except (NotImplementedError, RuntimeError) as error:
            raise InputError(f"removes atoms from {named([constraint])}; remove the constraint") from error
    left = atoms[kept]
    left.set_constraint([*left.constraints, *centred])
    return left


def behind(constraints: Sequence[FixConstraint], atoms: int, what: str) -> list[FixConstraint]:
    """Constraints of a structure that is appended to other atoms.

    Raises:
        InputError: there are other constraints than those of single atoms.
    """
    other = [c for c in constraints if type(c) not in PER_ATOM]
    if other:
        raise InputError(
            f"{what} holds {named(other)}, which cannot be transferred; remove the constraint from its file"
        )
    shifted = [constraint.copy() for constraint in constraints]
    for constraint in shifted:
        constraint.index = constraint.index + atoms
    return shifted


def refuse_any(atoms: Atoms, what: str, why: str) -> None:
    """Refuse a structure with constraints where they cannot be kept.

    Raises:
        InputError: it has constraints; the message names them.
    """
    constraints = effective(atoms)
    if constraints:
        raise InputError(f"{what} holds {named(constraints)}, {why}; remove the constraint from its file")


def refuse_anchored(atoms: Atoms) -> None:
    """Refuse a structure with atoms restrained to points or planes in space if the structure is moved as a whole.

    Raises:
        InputError: it has such restraints; the message names the constraint.
    """
    if any(type(c) is Hookean and len(np.atleast_1d(c.get_indices())) == 1 for c in atoms.constraints):
        raise InputError(
            f"the structure {atoms.get_chemical_formula()} holds Hookean to a point or plane in space, which does not "
            "move with it; remove the constraint from its file"
        )


def with_fixed(atoms: Atoms, mask: NDArray[np.bool_]) -> Atoms:
    """The same structure with further atoms fixed."""
    atoms.set_constraint([*atoms.constraints, FixAtoms(mask=mask)])
    return atoms
