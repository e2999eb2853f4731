"""Structures of a validation, from files."""

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from al_loop.errors import InputError
from al_loop.files.structures import EVERY_ELEMENT, read_structures
from al_loop.frames.constraints.policy import Motion, check_followed
from al_loop.frames.plain_atoms import plain_atoms
from al_loop.utils.paths import printable
from committee.errors import StructureError
from committee.structures import check_structures
from dft_interfaces.bounds import structure_excess


def named_structures(files: Sequence[Path]) -> dict[str, Atoms]:
    """Read all structures of some files, each under the stem of its file.

    Further structures of one file, or of a file of the same stem, get a number.

    Raises:
        InputError: a file that cannot be read, a structure beyond ``dft_interfaces.bounds`` or that no model
            can predict, or constraints that nothing here can follow.
    """
    found: dict[str, Atoms] = {}
    for file in files:
        for index, atoms in enumerate(read_structures(file)):
            if excess := structure_excess(atoms):
                raise InputError(f"{file}, structure {index}: {excess}; correct the number or its unit")
            try:
                check_structures([atoms], EVERY_ELEMENT)
            except StructureError as error:
                raise InputError(f"{file}, structure {index}: it {error.reason}") from error
            check_followed(atoms, Motion.COMPARISON, f"{file}, structure {index},")
            found[_free_name(printable(file.stem), found)] = plain_atoms(atoms)
    return found


def _free_name(stem: str, taken: dict[str, Atoms]) -> str:
    names = (stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 2)))
    return next(name for name in names if name not in taken)
