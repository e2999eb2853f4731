"""Starting structures read from files."""

from pathlib import Path

from ase import Atoms

from al_loop.errors import InputError
from committee.errors import StructureError
from committee.structures import check_structures

EVERY_ELEMENT = frozenset(range(1, 119))


def read_structure(path: Path) -> Atoms:
    """Read the last structure of a file, without calculator.

    Raises:
        InputError: no such file, a folder, a file that ASE cannot read, no atoms, or a structure that no model
            could be asked about (see ``check_structures``).
    """
    if path.is_dir():
        raise InputError(f"structure file {path} is a folder; name a file that ase.io.read opens")
    if not path.is_file():
        raise InputError(f"structure file {path} does not exist; paths are relative to the config file")
    atoms = _read(path)
    if len(atoms) == 0:
        raise InputError(f"structure file {path} holds no atoms; put one structure with at least one atom in it")
    if (atoms.numbers < 1).any():
        raise InputError(f"structure file {path} holds an atom without an element (symbol X); give it one")
    try:
        check_structures([atoms], EVERY_ELEMENT)
    except StructureError as error:
        raise InputError(f"structure file {path}: the structure {error.reason}") from error
    atoms.calc = None
    return atoms


def _read(path: Path) -> Atoms:
    from ase.io import read
    from ase.io.formats import UnknownFileTypeError

    try:
        atoms = read(path)
    except UnknownFileTypeError as error:
        raise InputError(
            f"structure file {path} has a format that ASE does not know ({error});"
            " use extxyz, cif, vasp (POSCAR) or another that ase.io.read opens"
        ) from error
    except Exception as error:
        raise InputError(
            f"structure file {path} cannot be read by ASE ({type(error).__name__}: {error});"
            " check that it is complete and that its ending names its format"
        ) from error
    return atoms if isinstance(atoms, Atoms) else Atoms()
