"""The nearest minimum of a structure under any ASE calculator, or the reason why there is none."""

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS


class NoAnswerError(Exception):
    """A calculator that cannot say what a check asks of it: the quantities have no value, and this is why."""


def relaxed(
    atoms: Atoms, calculator: Calculator, *, cell: bool, force_tolerance_eV_per_A: float, steps: int
) -> tuple[Atoms, float]:
    """Follow the forces, and the stress if asked, to the nearest minimum.

    Args:
        atoms: where it begins; not modified. Its constraints hold.
        calculator: gives energy, forces, and for a cell the stress.
        cell: relax the cell too (periodic in three directions).
        force_tolerance_eV_per_A: largest force that is left; of a cell the virial per atom and Å is held to it.
        steps: at most.

    Returns:
        The minimum with its calculator, and its energy, eV.

    Raises:
        NoAnswerError: no minimum within these steps, or an answer that is not finite.
    """
    moving: Any = atoms.copy()
    moving.calc = calculator
    optimizer = BFGS(FrechetCellFilter(moving) if cell else moving, logfile=None)
    converged = optimizer.run(fmax=force_tolerance_eV_per_A, steps=steps)
    energy = float(moving.get_potential_energy())
    forces = moving.get_forces()
    if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(moving.positions).all()):
        raise NoAnswerError("the relaxation ended in an energy or forces that are not finite")
    if not converged:
        largest = float(np.linalg.norm(forces, axis=1).max())
        raise NoAnswerError(f"not relaxed within {steps} steps; a force of {largest:.3g} eV/Å is left")
    return moving, energy
