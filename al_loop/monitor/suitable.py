"""Whether a model can say anything of a structure, asked before anything is computed."""

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from al_loop.errors import InputError
from committee.errors import StructureError
from committee.potential import CommitteePotential
from committee.structures import check_structures


def check_suitable(potential: CommitteePotential, atoms: Atoms, who: str, *, any_periodicity: bool) -> None:
    """Refuse a structure that the model was not made for.

    Args:
        potential: the committee.
        atoms: the first frame.
        who: how the message calls it, for example ``structure.xyz``.
        any_periodicity: accept any number of periodic directions.

    Raises:
        InputError: elements that the foundation lacks, another periodicity than trained on, or a structure that no
            model could be asked about.
    """
    elements = frozenset(int(z) for z in potential.backbone.elements)
    unknown = sorted(set(np.asarray(atoms.numbers).tolist()) - elements)
    if unknown:
        symbols = ", ".join(chemical_symbols[z] for z in unknown)
        raise InputError(f"{who} holds {symbols}, which the model's foundation does not know; choose another model")
    try:
        check_structures([atoms], elements)
    except StructureError as error:
        raise InputError(f"{who}: the structure {error.reason}") from error
    trained, periodic = potential.provenance.periodic_directions, int(atoms.pbc.sum())
    if trained and periodic not in trained and not any_periodicity:
        raise InputError(
            f"{who} is periodic in {periodic} directions, the model was trained on structures periodic in "
            f"{' or '.join(map(str, trained))}; set pbc and cell as in the training, or accept it with "
            "--any-periodicity (any_periodicity=True)"
        )
