"""Detect forces that a constraint set to zero before they were written, which are not labels."""

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.errors import InputError
from al_loop.frames.constraints.degrees_of_freedom import free_directions

FEWEST = 2
"""Of one fixed atom a force of exactly zero may be its symmetry's."""


def refuse_zeroed_forces(atoms: Atoms, forces_eV_per_A: NDArray[np.float64], where: str) -> None:
    """Refuse a label in which the forces on all fixed atoms, and on no others, are exactly zero.

    ``Atoms.get_forces()`` of ASE sets them to zero by default, and so do some codes in their outputs.

    Args:
        atoms: n of them, with their constraints.
        forces_eV_per_A: (n, 3), NaN where there are none.
        where: file and frame, for the message.

    Raises:
        InputError: naming the frame.
    """
    if not atoms.constraints or not np.isfinite(forces_eV_per_A).all():
        return
    fixed = free_directions(atoms) == 0
    zero = (forces_eV_per_A == 0.0).all(axis=1)
    if fixed.sum() >= FEWEST and zero[fixed].all() and not zero[~fixed].all():
        raise InputError(
            f"{where}: the forces on its {fixed.sum()} fixed atoms are exactly zero, expected those of the "
            "calculation; a constraint was applied to them before they were written. Write the raw forces (in ASE "
            "atoms.get_forces(apply_constraint=False)), calculate without constraints, or remove the forces"
        )
