"""Energies and relaxations, with the gate's physics check; calculator errors become ``NoAnswerError``."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, LBFGS
from numpy.typing import NDArray

from al_loop.config import PhysicsSettings
from al_loop.errors import InputError, NoAnswerError
from al_loop.gate.physics import PhysicsCheck
from al_loop.gate.watched_relaxation import (
    COLD_K,
    BrokenStructureError,
    energy_and_forces_of,
    movable_copy,
    run_watched,
    without_calculator,
)

LONGEST_STEP_A = 0.1
MOST_FOR_HESSIAN = 200  # atoms: beyond it BFGS spends more on its own matrices than on the forces
LONGEST_MESSAGE = 200


@dataclass(frozen=True)
class Minimum:
    """A relaxed structure, without calculator, with its energy (eV) and a note for the reader."""

    atoms: Atoms
    energy_eV: float
    note: str = ""

    @property
    def energy_eV_per_atom(self) -> float:
        """The energy of one atom."""
        return self.energy_eV / len(self.atoms)


def energy_and_forces(atoms: Atoms, calculator: Calculator) -> tuple[float, NDArray[np.float64]]:
    """Energy (eV) and forces (n, 3; eV/Å) of a structure as it stands; it is not modified.

    Raises:
        NoAnswerError: the calculator failed, or its result is not finite.
    """
    copied = atoms.copy()
    with calculator_errors():
        copied.calc = calculator
        return energy_and_forces_of(copied)


def minimum(
    start: Atoms,
    calculator: Calculator,
    *,
    force_tolerance_eV_per_A: float,
    steps: int,
    with_cell: bool = False,
) -> Minimum:
    """Relax with ASE's BFGS, in large cells L-BFGS, watched by the gate's physics.

    Args:
        start: where it begins, constraints included, which are followed; not modified.
        calculator: of the forces.
        force_tolerance_eV_per_A: the relaxation has converged below it, that on the cell included.
        steps: most steps.
        with_cell: the cell relaxes too (``FrechetCellFilter``).

    Raises:
        NoAnswerError: the calculator failed, the structure became unphysical (collapse, expansion, energy
            diverged, ...), the relaxation did not converge, or constraints cannot be followed.
    """
    with calculator_errors():
        atoms = movable_copy(start, cell=with_cell)
        physics_check = PhysicsCheck(PhysicsSettings(), atoms.copy(), COLD_K)
        atoms.calc = calculator
        method: Any = BFGS if len(atoms) <= MOST_FOR_HESSIAN else LBFGS
        optimizer = method(FrechetCellFilter(atoms) if with_cell else atoms, logfile=None, maxstep=LONGEST_STEP_A)
        try:
            converged = run_watched(
                optimizer, atoms, physics_check, force_tolerance_eV_per_A=force_tolerance_eV_per_A, steps=steps
            )
        except BrokenStructureError as error:
            raise NoAnswerError(f"the relaxation failed: {error}") from error
        energy, _ = energy_and_forces_of(atoms)
    if not converged:
        left = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
        raise NoAnswerError(
            f"the relaxation did not converge in {steps} steps: a force of {left:.2g} eV/Å is left, wanted"
            f" {force_tolerance_eV_per_A:g}"
        )
    return Minimum(without_calculator(atoms, start), energy)


@contextmanager
def calculator_errors() -> Iterator[None]:
    """Convert calculator errors into ``NoAnswerError``, so that only one number is lost."""
    try:
        yield
    except NoAnswerError:
        raise
    except (InputError, BrokenStructureError) as error:  # a structure that the check cannot be made of
        raise NoAnswerError(str(error)) from error
    except PropertyNotImplementedError as error:
        raise NoAnswerError("the calculator does not give what the check needs (stress, most often)") from error
    except Exception as error:  # a foreign calculator raises anything
        first = (str(error).strip() or "no message").splitlines()[0]
        raise NoAnswerError(f"the calculator failed: {type(error).__name__}: {first[:LONGEST_MESSAGE]}") from error
