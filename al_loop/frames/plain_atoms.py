"""The properties of a structure that the loop keeps, and constraints as JSON text."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ase import Atoms

from al_loop.errors import InputError

if TYPE_CHECKING:
    from ase.constraints import FixConstraint

KEPT: Final = ("charge", "spin")
"""Keys of ``atoms.info`` that affect calculations: total charge (e) and spin multiplicity 2S + 1."""


def plain_atoms(atoms: Atoms) -> Atoms:
    """Return a copy with only the properties that affect the motion or calculations of a structure.

    Kept are numbers, positions, cell, pbc, initial magnetic moments, masses where the structure has its own,
    constraints, and of ``atoms.info`` the entries in ``KEPT``.
    """
    plain = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc)
    if atoms.has("initial_magmoms"):
        plain.set_initial_magnetic_moments(atoms.get_initial_magnetic_moments())
    if atoms.has("masses"):
        plain.set_masses(atoms.get_masses())
    plain.set_constraint([constraint.copy() for constraint in atoms.constraints])
    plain.info.update({key: atoms.info[key] for key in KEPT if atoms.info.get(key) is not None})
    return plain


def constraints_text(constraints: "Sequence[FixConstraint]") -> str:
    """Constraints as JSON of ASE's ``todict``."""
    return json.dumps([constraint.todict() for constraint in constraints], default=_plain)


def check_constraints(atoms: Atoms, where: str) -> None:
    """Check that files can store the constraints, before anything is calculated or stored.

    Raises:
        InputError: they cannot; the message names the kinds.
    """
    try:
        constraints_text(atoms.constraints)
    except (TypeError, NotImplementedError, AttributeError) as error:
        kinds = ", ".join(sorted({type(constraint).__name__ for constraint in atoms.constraints}))
        raise InputError(
            f"{where} holds {kinds}, of which al-loop's files and ledger cannot hold every kind ({error}); expected "
            "FixAtoms and the like. Remove the constraint from the file"
        ) from error


def constraints_from_text(text: str) -> "list[FixConstraint]":
    """The inverse of ``constraints_text``.

    Raises:
        ValueError: the text is invalid, or ASE does not have a kind of constraint; nothing is executed.
    """
    from ase.constraints import dict2constraint  # loads scipy, which not every command needs

    described = json.loads(text)
    if not isinstance(described, list):
        raise ValueError(f"received {text[:80]!r}, expected a list of constraints")
    return [dict2constraint(one) for one in described]


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a constraint holds a {type(value).__name__}, which JSON does not support")
