"""Check ``relaxation``: lattice constants, volume, bond lengths and the energy of the nearest minimum."""

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from al_loop.frames.constraints.degrees_of_freedom import effective
from al_loop.frames.constraints.policy import named
from al_loop.tools.validation.quantity import Quantity
from al_loop.tools.validation.relax import minimum

BOND_FACTOR = 1.25  # of the sum of covalent radii: atoms closer than this are bonded

Array = NDArray[np.float64]


def relaxation(
    atoms: Atoms, calculator: Calculator, *, force_tolerance_eV_per_A: float = 0.01, steps: int = 200
) -> list[Quantity]:
    """Relax a structure, with its cell where it is periodic in three directions and nothing holds its atoms.

    Constraints are followed in the given cell, which the note of the energy states.

    Bonds are those of the structure as it was given, so that all calculators are compared on the same ones; each pair
    of elements has one mean length. Energies per atom of one composition form an order group: only their
    differences mean anything.

    Raises:
        NoAnswerError: no minimum was found.
    """
    held = effective(atoms)
    crystal = bool(atoms.pbc.all()) and not held
    found = minimum(
        atoms, calculator, with_cell=crystal, force_tolerance_eV_per_A=force_tolerance_eV_per_A, steps=steps
    )
    after = found.atoms
    formula = atoms.symbols.formula.reduce()[0].format("hill")
    note = f"the structure holds {named(held)}: relaxed in the given cell" if held else ""
    quantities = [Quantity("energy per atom", "eV/atom", found.energy_eV_per_atom, f"energy of {formula}", note)]
    if crystal:
        *lengths, alpha, beta, gamma = after.cell.cellpar()
        quantities += [Quantity(name, "Å", float(value)) for name, value in zip("abc", lengths, strict=True)]
        change = np.abs(np.array([alpha, beta, gamma]) - atoms.cell.angles()).max()
        quantities.append(Quantity("largest change of a cell angle", "°", float(change)))
        quantities.append(Quantity("volume per atom", "Å³/atom", float(after.get_volume()) / len(atoms)))
    return [*quantities, *_bond_lengths(atoms, after)]


def _bond_lengths(before: Atoms, after: Atoms) -> Iterator[Quantity]:
    radii = covalent_radii[before.numbers]
    first, second, images = neighbor_list("ijS", before, cutoff=(BOND_FACTOR * radii).tolist())
    lengths: Array = np.linalg.norm(
        after.positions[second] - after.positions[first] + images @ after.cell.array, axis=1
    )
    pairs = ["-".join(sorted((before.symbols[i], before.symbols[j]))) for i, j in zip(first, second, strict=True)]
    for pair in sorted(set(pairs)):
        mean = float(lengths[[name == pair for name in pairs]].mean())
        yield Quantity(f"{pair} bond length", "Å", mean)
