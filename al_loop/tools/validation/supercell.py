"""The perfect supercell that defects are made in."""

from dataclasses import dataclass

from ase import Atoms
from ase.calculators.calculator import Calculator

from al_loop.tools.validation.bulk import equilibrium, repeats
from al_loop.tools.validation.relax import energy_eV


@dataclass(frozen=True)
class Host:
    """A supercell of a crystal at its own equilibrium.

    Attributes:
        atoms: without calculator; the first ones are those of the cell that was given, in its order.
        energy_eV: of all of them.
        note: its size, and what could not be relaxed.
    """

    atoms: Atoms
    energy_eV: float
    note: str

    @property
    def energy_eV_per_atom(self) -> float:
        """The energy of one atom."""
        return self.energy_eV / len(self.atoms)


def host(atoms: Atoms, calculator: Calculator, *, least_size_A: float, steps: int) -> Host:
    """Relax a crystal with its cell, and repeat it.

    The energy is calculated in the supercell itself, where a DFT engine has the k-points that it has for the defects.

    Args:
        atoms: the cell.
        calculator: energy, forces, and the stress if the cell is to relax.
        least_size_A: between opposite faces of the supercell.
        steps: of the relaxation at most.

    Raises:
        NoAnswerError: no relaxed crystal, or no energy of the supercell.
    """
    relaxed, note = equilibrium(atoms, calculator, steps=steps)
    times = repeats(relaxed.atoms, least_size_A)
    supercell = relaxed.atoms.repeat(times)
    size = f"{' x '.join(map(str, times))} cells, {len(supercell)} atoms"
    return Host(supercell, energy_eV(supercell, calculator), "; ".join(text for text in (size, note) if text))
