"""Reference shifts from isolated atoms: energies of labels minus foundation for one atom in vacuum."""

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from al_loop.errors import InputError
from al_loop.files.labels.isolated_atoms import ground_multiplicity
from committee.backbones.contract import Backbone
from committee.errors import CommitteeError, StructureError


def isolated_atom_shifts(energies_eV: Mapping[str, float], backbone: Backbone) -> dict[int, float]:
    """Reference shift of each element from its single atom: the labels' energy minus the foundation's.

    The foundation is evaluated for the atom in vacuum with the multiplicity of its ground state.

    Raises:
        InputError: the foundation has no energy for a single atom.
    """
    return {
        atomic_numbers[symbol]: energy - _foundation_energy_eV(symbol, backbone)
        for symbol, energy in energies_eV.items()
    }


def known_atoms(energies_eV: Mapping[str, float], backbone: Backbone) -> dict[str, float]:
    """Those elements that the foundation knows: a file of isolated atoms may hold more than its frames."""
    return {symbol: energy for symbol, energy in energies_eV.items() if atomic_numbers[symbol] in backbone.elements}


def _foundation_energy_eV(symbol: str, backbone: Backbone) -> float:
    try:
        energy = _evaluated_eV(symbol, backbone)
    except CommitteeError as error:
        energy, why = float("nan"), f": {str(error).rstrip('.')}"
    else:
        why = ""
    if not np.isfinite(energy):
        raise InputError(
            f"{backbone.name} gives no energy of a single {symbol} atom{why}. The energies of isolated atoms cannot be "
            "compared with it: leave them out of the labelled files (or of align.isolated_atoms_eV)"
        )
    return energy


def _evaluated_eV(symbol: str, backbone: Backbone) -> float:
    """Evaluate with charge and spin, which some foundations require, or without, if any spin is refused."""
    multiplicity = ground_multiplicity(atomic_numbers[symbol]) or 1
    try:
        return float(backbone.evaluate([Atoms(symbol, info={"charge": 0, "spin": multiplicity})]).energy[0])
    except StructureError:
        return float(backbone.evaluate([Atoms(symbol)]).energy[0])
