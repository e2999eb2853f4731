"""Starting structures read from files."""

from pathlib import Path

from ase import Atoms

from al_loop.errors import InputError
from committee.errors import StructureError
from committee.structures import check_structures
from dft_interfaces.bounds import structure_excess

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
        raise InputError(f"structure file {path} does not exist; paths in a config are relative to it")
    if path.suffix in {".xyz", ".extxyz"}:
        _refuse_cut(path)
    atoms = _read(path)
    if len(atoms) == 0:
        raise InputError(f"structure file {path} holds no atoms; put one structure with at least one atom in it")
    if (atoms.numbers < 1).any():
        raise InputError(f"structure file {path} holds an atom without an element (symbol X); give it one")
    excess = structure_excess(atoms)
    if excess:
        raise InputError(f"structure file {path}: {excess}; correct the number or its unit")
    try:
        check_structures([atoms], EVERY_ELEMENT)
    except StructureError as error:
        raise InputError(f"structure file {path}: the structure {error.reason}") from error
    atoms.calc = None
    return atoms


def read_structures(path: Path) -> list[Atoms]:
    """Read all structures of a file, without calculators; constraints, charge and spin stay.

    Raises:
        InputError: no such file, one that ASE cannot read, no structures, or one without atoms or elements.
    """
    from ase.io import read

    if not path.is_file():
        raise InputError(f"{path} is not a file; name one with candidate structures, such as candidates.extxyz")
    try:
        frames = read(path, ":")
    except Exception as error:
        if path.stat().st_size == 0:
            frames = []
        else:
            raise InputError(
                f"{path} cannot be read by ASE ({type(error).__name__}: {error}); give the candidates as extxyz"
            ) from error
    if not frames:
        raise InputError(f"{path} holds no structures; give at least one candidate")
    for index, atoms in enumerate(frames):
        if len(atoms) == 0 or (atoms.numbers < 1).any():
            raise InputError(f"{path}, candidate {index}: no atoms, or an atom without an element; remove it")
        atoms.calc = None
    return list(frames)


def _refuse_cut(path: Path) -> None:
    """Refuse a file of frames that is shorter than it says: ASE would look for every line that is missing."""
    left = 0
    with path.open("rb") as file:
        for line in file:
            if left:
                left -= 1
                continue
            word = line.strip()
            if not word.isdigit():
                return  # for ASE to say
            left = int(word[:18]) + 1
    if left > 1:
        raise InputError(f"structure file {path} ends {left} lines before what its counts of atoms say; is it whole?")


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
