"""Bulk crystals: recognition, relaxation with a calculator, supercells and inequivalent sites."""

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from al_loop.errors import NoAnswerError
from al_loop.frames.constraints.degrees_of_freedom import effective
from al_loop.frames.constraints.policy import named
from al_loop.gate.bonding import BOND_FACTOR, Bonding
from al_loop.structures.generators.cells import check_size
from al_loop.tools.validation.crystal_symmetry import symmetry
from al_loop.tools.validation.relax import Minimum, energy_and_forces, minimum
from dft_interfaces.geometry.vacuum import vacuum_axes

BULK_FORCE_eV_PER_A = 0.005  # tighter than that of defects: a strained crystal adds an error to each of them
AS_GIVEN = "the calculator gives no stress: cell as given"


@dataclass(frozen=True)
class Site:
    """One of the inequivalent sites of a crystal: the index of an atom on it, and a name that is its element's.

    Where an element has several sites, the name has a number.
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


def require_free(*crystals: Atoms) -> None:
    """Raise ``NoAnswerError`` if the atoms of a crystal are constrained."""
    for atoms in crystals:
        if held := effective(atoms):
            raise NoAnswerError(
                f"the check is about the free crystal, but the structure holds {named(held)}; remove the constraint "
                "from its file"
            )


def require_free_periodic(atoms: Atoms, what: str) -> None:
    """Raise ``NoAnswerError`` if a structure is not periodic in three directions, or constrained."""
    if not atoms.pbc.all():
        raise NoAnswerError(f"{what} needs a structure that is periodic in three directions")
    require_free(atoms)


def equilibrium(atoms: Atoms, calculator: Calculator, *, steps: int) -> Minimum:
    """Relax atoms and cell of a crystal without constraints; without stress the atoms alone, and the note says so.

    Raises:
        NoAnswerError: as ``minimum``.
    """
    with_cell = "stress" in calculator.implemented_properties
    found = minimum(atoms, calculator, force_tolerance_eV_per_A=BULK_FORCE_eV_PER_A, steps=steps, with_cell=with_cell)
    return replace(found, note="" if with_cell else AS_GIVEN)


def relaxed_supercell(atoms: Atoms, calculator: Calculator, *, least_size_A: float, steps: int) -> Minimum:
    """Relax a crystal with its cell and repeat it; the first atoms are those of the given cell, in its order.

    The energy is calculated in the supercell itself, where a DFT engine has the k-points that it has for defects. The
    note holds the size, and what could not be relaxed.

    Raises:
        NoAnswerError: no relaxed crystal, or no energy of the supercell.
    """
    relaxed = equilibrium(atoms, calculator, steps=steps)
    times = repeats(relaxed.atoms, least_size_A)
    supercell = relaxed.atoms.repeat(times)
    size = f"{' x '.join(map(str, times))} cells, {len(supercell)} atoms"
    note = "; ".join(text for text in (size, relaxed.note) if text)
    return Minimum(supercell, energy_and_forces(supercell, calculator)[0], note)


def repeats(atoms: Atoms, least_size_A: float) -> tuple[int, int, int]:
    """How often to repeat a cell so that opposite faces are at least so far apart (directions with a lattice only)."""
    across = 1 / np.linalg.norm(atoms.cell.complete().reciprocal(), axis=1)
    wanted = np.where(atoms.pbc, np.ceil(least_size_A / across - 1e-6), 1).astype(int)
    a, b, c = (max(1, int(n)) for n in wanted)
    check_size(len(atoms), a, b, c)
    return a, b, c


def inequivalent_sites(atoms: Atoms, most: int) -> tuple[list[Site], list[str]]:
    """Sites that no symmetry of the crystal maps on each other (spglib), initial magnetic moments told apart.

    Returns:
        At most ``most`` sites of each element, and the elements that have more.

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
