"""Bulk crystals: recognition, relaxation with a calculator, supercells and inequivalent sites."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from al_loop.errors import NoAnswerError
from al_loop.frames.constraints.degrees_of_freedom import effective
from al_loop.frames.constraints.policy import named
from al_loop.gate.bonding import BOND_FACTOR, Bonding
from al_loop.structures.generators.cells import check_size
from al_loop.tools.validation.crystal_symmetry import symmetry
from al_loop.tools.validation.relax import Minimum, minimum
from dft_interfaces.geometry.vacuum import vacuum_axes

BULK_FORCE_eV_PER_A = 0.005  # tighter than that of defects: a strained crystal adds an error to each of them
AS_GIVEN = "the calculator gives no stress: cell as given"


@dataclass(frozen=True)
class Site:
    """One of the inequivalent sites of a crystal.

    Attributes:
        index: of an atom on it.
        element: its symbol.
        name: the symbol, with a number where the element has several sites.
    """

    index: int
    element: str
    name: str


def is_bulk(atoms: Atoms) -> bool:
    """Whether a structure is periodic in three directions and fills its cell."""
    return not vacuum_axes(atoms)


def is_crystal(atoms: Atoms) -> bool:
    """Whether a structure is a bulk without molecules, which defects and surfaces would cut (``Bonding`` tells)."""
    if not is_bulk(atoms):
        return False
    bonding = Bonding.of(atoms)
    bonded = bonding.ratio < BOND_FACTOR
    fragment = bonding.fragments(bonded)
    several = np.bincount(fragment)[fragment] > 1
    return not bool((several & ~bonding.extended(bonded, fragment)).any())


def require_free(atoms: Atoms) -> None:
    """Raise if the atoms of a crystal are constrained.

    Raises:
        NoAnswerError: a constraint does.
    """
    constraints = effective(atoms)
    if constraints:
        raise NoAnswerError(
            f"the check is about the free crystal, but the structure holds {named(constraints)}; remove the constraint "
            "from its file"
        )


def equilibrium(atoms: Atoms, calculator: Calculator, *, steps: int) -> tuple[Minimum, str]:
    """Relax atoms and cell of a crystal without constraints; without stress the atoms alone, and the note says so.

    Raises:
        NoAnswerError: as ``minimum``.
    """
    with_cell = "stress" in calculator.implemented_properties
    found = minimum(atoms, calculator, force_tolerance_eV_per_A=BULK_FORCE_eV_PER_A, steps=steps, with_cell=with_cell)
    return found, "" if with_cell else AS_GIVEN


def repeats(atoms: Atoms, least_size_A: float) -> tuple[int, int, int]:
    """How often to repeat a cell so that opposite faces are at least so far apart (directions with a lattice only)."""
    across = 1 / np.linalg.norm(atoms.cell.complete().reciprocal(), axis=1)
    wanted = np.where(atoms.pbc, np.ceil(least_size_A / across - 1e-6), 1).astype(int)
    a, b, c = (max(1, int(n)) for n in wanted)
    check_size(len(atoms), a, b, c)
    return a, b, c


def inequivalent_sites(atoms: Atoms, most: int) -> tuple[list[Site], list[str]]:
    """Sites that no symmetry of the crystal maps on each other (spglib), initial magnetic moments told apart.

    Args:
        atoms: the crystal.
        most: sites of each element; further ones are left out.

    Returns:
        The sites, and the elements that have more of them.

    Raises:
        NoAnswerError: spglib is not installed.
    """
    found = symmetry(atoms)
    first = range(len(atoms)) if found is None else np.unique(found.equivalent_atoms)
    of_element: defaultdict[str, list[int]] = defaultdict(list)
    for index in first:
        of_element[atoms.symbols[index]].append(int(index))
    sites = [
        Site(index, element, element if len(indices) == 1 else f"{element} site {number}")
        for element, indices in of_element.items()
        for number, index in enumerate(indices[:most], start=1)
    ]
    return sites, [element for element, indices in of_element.items() if len(indices) > most]
