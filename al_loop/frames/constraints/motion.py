"""Steps, displacements and initial velocities under constraints, as in ASE's dynamics.

The structures have the constraints of ``policy.followed``. Without constraints nothing is changed.
"""

import numpy as np
from ase import Atoms, units
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from numpy.typing import NDArray

from al_loop.errors import InputError
from al_loop.frames.constraints.degrees_of_freedom import merged
from al_loop.frames.constraints.policy import RIGID, degrees_of_freedom

Array = NDArray[np.float64]


def md_forces(atoms: Atoms, forces: Array) -> Array:
    """Forces (n, 3) for dynamics, including those of restraints, as ``atoms.get_forces(md=True)``.

    Constraints that hold atoms act on positions and momenta instead.

    Args:
        atoms: the structure at these forces.
        forces: (n, 3) of the model; not modified.
    """
    if not atoms.constraints:
        return forces
    adjusted = np.array(forces)
    for constraint in atoms.constraints:
        if hasattr(constraint, "redistribute_forces_md"):
            constraint.redistribute_forces_md(atoms, adjusted)
        if hasattr(constraint, "adjust_potential_energy"):
            constraint.adjust_forces(atoms, adjusted)
    return adjusted


def free_forces(atoms: Atoms, forces: Array) -> Array:
    """Forces (n, 3) projected onto the free directions, for a relaxation."""
    adjusted = np.array(forces)
    for constraint in merged(atoms):
        constraint.adjust_forces(atoms, adjusted)
    return adjusted


def redistribute_noise(atoms: Atoms, *noises: Array) -> None:
    """Redistribute random numbers (n, 3) in rigid linear molecules, in place, for the correct temperature."""
    for constraint in atoms.constraints:
        if hasattr(constraint, "redistribute_forces_md"):
            for noise in noises:
                constraint.redistribute_forces_md(atoms, noise, rand=True)


def restraint_energy_eV(atoms: Atoms) -> float:
    """Potential energy of restraints (Hookean), eV."""
    adding = [c for c in atoms.constraints if hasattr(c, "adjust_potential_energy")]
    return float(sum(constraint.adjust_potential_energy(atoms) for constraint in adding))


def temperature_K(atoms: Atoms) -> float:
    """Temperature of the moving degrees of freedom; 0 if there are none."""
    freedom = degrees_of_freedom(atoms)
    return float(2 * atoms.get_kinetic_energy() / (freedom * units.kB)) if freedom else 0.0


def displaced(atoms: Atoms, displacements: Array) -> Atoms:
    """A copy with atoms displaced as far as constraints allow.

    Args:
        atoms: not modified.
        displacements: (n, 3) Å.

    Raises:
        InputError: the displacement is too large for bonds of fixed length.
    """
    moved = atoms.copy()
    if not atoms.constraints:
        moved.positions += displacements
        return moved
    constrained = atoms.copy()
    constrained.set_constraint(merged(atoms))
    try:
        constrained.set_positions(atoms.positions + displacements)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"a displacement of up to {np.abs(displacements).max():.2f} Å does not satisfy the constraints of the "
            f"structure {atoms.get_chemical_formula()} ({error}); displace it less"
        ) from error
    moved.positions = constrained.positions
    return moved


def draw_velocities(atoms: Atoms, temperature_K: float, rng: np.random.Generator) -> None:
    """Draw thermal velocities for all moving atoms, and remove the drift of a structure that is free to drift.

    Args:
        atoms: the structure; its momenta are replaced.
        temperature_K: over the free degrees of freedom.
        rng: as many numbers are drawn as without constraints.
    """
    constraints = atoms.constraints
    if not constraints:
        thermalize_momenta(atoms, temperature_K=temperature_K, rng=rng)
        Stationary(atoms, preserve_temperature=False)
        return
    atoms.set_constraint()
    thermalize_momenta(atoms, temperature_K=temperature_K, rng=rng)
    atoms.set_constraint(constraints)
    momenta = atoms.get_momenta()
    for constraint in constraints:
        if hasattr(constraint, "redistribute_forces_md"):
            constraint.redistribute_forces_md(atoms, momenta)
    atoms.set_momenta(momenta)
    if all(isinstance(constraint, RIGID) for constraint in constraints):
        Stationary(atoms, preserve_temperature=False)
