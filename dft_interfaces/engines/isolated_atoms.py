"""Single atoms in vacuum, whose energies are an engine's energy zero."""

from ase import Atoms
from ase.data import atomic_numbers, ground_state_magnetic_moments

from dft_interfaces.settings.base import BaseEngineSettings

BOX_A = (10.0, 10.5, 11.0)
"""Without a symmetry that an open shell would have to break."""


def isolated_atom(symbol: str, settings: BaseEngineSettings) -> Atoms:
    """Return one atom with the multiplicity of its ground state, in a box if the engine requires periodic cells."""
    unpaired = round(ground_state_magnetic_moments[atomic_numbers[symbol]])
    atom = Atoms(symbol, magmoms=[unpaired], info={"charge": 0, "spin": unpaired + 1})
    if any(objection.about == "file" for objection in settings.objections(atom)):
        atom.set_cell(BOX_A)
        atom.center()
        atom.pbc = True
    return atom
