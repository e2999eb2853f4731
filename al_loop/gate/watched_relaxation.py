"""A relaxation under the gate's physics check, with any optimizer and calculator."""

from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.frames.constraints.policy import Motion, followed
from al_loop.gate.physics import PhysicsCheck
from al_loop.records import VerdictKind

CHECK_EVERY = 5  # steps between two physics checks
COLD_K = 1.0  # nothing moves: the temperature of the physics check plays no role


class BrokenStructureError(Exception):
    """A structure became unphysical while it relaxed; the message holds the reason."""


def movable_copy(start: Atoms, *, cell: bool) -> Atoms:
    """Return a copy with the constraints that a relaxation obeys.

    The cell relaxes too if ``cell``.

    Raises:
        InputError: constraints that a relaxation cannot obey.
    """
    atoms = start.copy()
    atoms.set_constraint(followed(start, Motion.CELL if cell else Motion.COMPARISON))
    return atoms


def without_calculator(atoms: Atoms, start: Atoms) -> Atoms:
    """Return a copy with the constraints of ``start`` and without a calculator."""
    copied = atoms.copy()
    copied.calc = None
    copied.set_constraint([constraint.copy() for constraint in start.constraints])
    return copied


def run_watched(
    optimizer: Any,
    atoms: Atoms,
    physics_check: PhysicsCheck,
    *,
    force_tolerance_eV_per_A: float,
    steps: int,
    judge_energy: bool = True,
) -> bool:
    """Run an optimizer until the forces are small or the structure becomes unphysical.

    An unphysical but computable structure counts only at the end; one that is not computable ends the run at once.
    Return whether it converged: all forces, those on the cell included, are below the tolerance.

    Raises:
        BrokenStructureError: two atoms collapsed, the volume exploded, numbers are not finite, ...
    """

    def check(*, ended: bool) -> None:
        energy, forces = energy_and_forces_of(atoms)
        if optimizer.nsteps % CHECK_EVERY and not ended:
            return
        found = physics_check.check(atoms, forces, energy if judge_energy else None)
        if found is not None and (ended or found.kind is VerdictKind.DISCARD):
            raise BrokenStructureError(found.reason)

    converged = False
    for converged in optimizer.irun(fmax=force_tolerance_eV_per_A, steps=steps):  # noqa: B007 - returned below
        check(ended=False)
    check(ended=True)
    return bool(converged)


def energy_and_forces_of(atoms: Atoms) -> tuple[float, NDArray[np.float64]]:
    """Energy (eV) and forces (n, 3; eV/Å), those on fixed atoms included, of a structure with its calculator.

    Raises:
        BrokenStructureError: they are not finite.
    """
    energy = float(atoms.get_potential_energy())
    forces = np.asarray(atoms.get_forces(apply_constraint=False), dtype=np.float64)
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        raise BrokenStructureError("the calculator's energy or forces are not finite")
    return energy, forces
