"""Check that a model applies to a structure, before anything is computed."""

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from al_loop.errors import InputError
from committee.backbones.charge_spin import read_charge_spin
from committee.errors import StructureError
from committee.potential import CommitteePotential
from committee.structures import check_structures
from dft_interfaces.bounds import structure_excess


def check_suitable(potential: CommitteePotential, atoms: Atoms, who: str, *, any_periodicity: bool) -> None:
    """Refuse a structure that the model was not made for.

    ``who`` is the name of the structure in messages.

    Raises:
        InputError: elements that the foundation lacks, numbers beyond ``dft_interfaces.bounds``, a periodicity that was
            not trained on, a charge or spin that its task requires or does not support, or an invalid structure.
    """
    elements = frozenset(int(z) for z in potential.backbone.elements)
    unknown = sorted(set(np.asarray(atoms.numbers).tolist()) - elements)
    if unknown:
        symbols = ", ".join(chemical_symbols[z] for z in unknown)
        raise InputError(f"{who} holds {symbols}, which the model's foundation does not know; choose another model")
    if excess := structure_excess(atoms):
        raise InputError(f"{who}: {excess}; correct the number or its unit")
    try:
        check_structures([atoms], elements)
    except StructureError as error:
        raise InputError(f"{who}: the structure {error.reason}") from error
    _check_charge_and_spin(potential, atoms, who)
    trained, periodic = potential.provenance.periodic_directions, int(atoms.pbc.sum())
    if trained and periodic not in trained and not any_periodicity:
        raise InputError(
            f"{who} is periodic in {periodic} directions, the model was trained on structures periodic in "
            f"{' or '.join(map(str, trained))}; set pbc and cell as in the training (--cell and --pbc for files "
            "that have none), or accept it with --any-periodicity (any_periodicity=True)"
        )


def _check_charge_and_spin(potential: CommitteePotential, atoms: Atoms, who: str) -> None:
    task = getattr(getattr(potential.backbone, "settings", None), "task_name", None)  # of fairchem's foundations
    if task is None:
        return
    try:
        read_charge_spin(0, atoms, task)
    except StructureError as error:
        given = " For files that know neither: --charge 0 --spin 1." if task == "omol" else ""
        raise InputError(f"{who}: the structure {error.reason}{given}") from error
