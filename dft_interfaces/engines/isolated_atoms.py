"""Single atoms in vacuum: what an engine's zero of energy is made of."""

from ase import Atoms
from ase.data import atomic_numbers, ground_state_magnetic_moments

from dft_interfaces.settings.base import BaseEngineSettings

BOX_A = (10.0, 10.5, 11.0)
"""Of no symmetry that an open shell would have to break."""


def isolated_atom(symbol: str, settings: BaseEngineSettings) -> Atoms:
    """Return one atom in its ground state's multiplicity, in a box if the engine takes nothing but cells.

    Args:
        symbol: of the element.
        settings: the engine's block of the config.
    """
    unpaired = round(ground_state_magnetic_moments[atomic_numbers[symbol]])
    atom = Atoms(symbol, magmoms=[unpaired], info={"charge": 0, "spin": unpaired + 1})
    if any(objection.about == "file" for objection in settings.objections(atom)):
        atom.set_cell(BOX_A)
        atom.center()
        atom.pbc = True
    return atom
