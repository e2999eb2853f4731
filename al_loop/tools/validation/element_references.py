"""Chemical potentials: the energy of one atom of each element in a reference structure, under the same calculator."""

import numpy as np
from ase import Atoms, build
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers

from al_loop.errors import NoAnswerError
from al_loop.tools.validation.bulk import equilibrium
from al_loop.tools.validation.relax import minimum

BOND_A = {"H": 0.74, "N": 1.10, "O": 1.21, "F": 1.41, "Cl": 1.99, "Br": 2.28, "I": 2.67}
"""Elements that are diatomic molecules, and the bond that a relaxation begins with."""
VACUUM_A = 5.0  # on each side of a molecule, in a periodic box that any engine for crystals can calculate
MOLECULE_FORCE_eV_PER_A = 0.01
TRIPLET = {"O"}


def element_energy_eV(element: str, calculator: Calculator, *, steps: int, spin: bool = False) -> float:
    """Energy of one atom of an element in its reference structure.

    That is the element's own crystal from ASE's table of reference states (fcc, bcc, hcp, diamond, ...), relaxed with
    its cell, or the diatomic molecule of H, N, O, F, Cl, Br, I, relaxed in a box. For other elements (B, P, S, Mn, Ga,
    ...) there is none.

    Args:
        element: its symbol.
        calculator: that the defects are calculated with, so that the reference energies of two codes cancel.
        steps: of the relaxation.
        spin: state charge and spin multiplicity, for foundations that need them.

    Raises:
        NoAnswerError: there is no reference, or the calculator gave no energy of it.
    """
    start = reference_structure(element)
    if start is None:
        raise NoAnswerError(f"ASE has no simple crystal of {element} to take its chemical potential from")
    if spin:
        odd = int(start.numbers.sum()) % 2
        start.info.update(charge=0, spin=3 if element in TRIPLET else 1 + odd)
    try:
        if element not in BOND_A:
            return equilibrium(start, calculator, steps=steps).energy_eV_per_atom
        force = MOLECULE_FORCE_eV_PER_A
        return minimum(start, calculator, force_tolerance_eV_per_A=force, steps=steps).energy_eV_per_atom
    except NoAnswerError as error:
        raise NoAnswerError(f"no energy of the {reference_name(element)}: {error}") from error


def reference_structure(element: str) -> Atoms | None:
    """The crystal or molecule that an element's chemical potential is taken from, or None."""
    if element in BOND_A:
        number = atomic_numbers[element]
        molecule = Atoms([number, number], positions=[[0, 0, 0], [0, 0, BOND_A[element]]])
        if element in TRIPLET:
            molecule.set_initial_magnetic_moments(np.ones(2))
        molecule.center(vacuum=VACUUM_A)
        molecule.pbc = True
        return molecule
    try:
        return build.bulk(element)
    except (ValueError, RuntimeError, KeyError, TypeError, NotImplementedError):  # each for another kind of gap
        return None


def reference_name(element: str) -> str:
    """Name of the reference, for a note."""
    return f"{element}2 molecule" if element in BOND_A else f"{element} crystal"
