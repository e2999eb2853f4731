"""Starting structures read from files."""

from pathlib import Path

import numpy as np
from ase import Atoms

from al_loop.errors import InputError


def read_structure(path: Path) -> Atoms:
    """Read the last structure of a file, without calculator.

    Raises:
        InputError: no such file, a folder, a file that ASE cannot read, no atoms, or positions that are not finite.
    """
    if path.is_dir():
        raise InputError(f"structure file {path} is a folder; name a file that ase.io.read opens")
    if not path.is_file():
        raise InputError(f"structure file {path} does not exist; paths are relative to the config file")
    atoms = _read(path)
    if len(atoms) == 0:
        raise InputError(f"structure file {path} holds no atoms; put one structure with at least one atom in it")
    if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        raise InputError(f"structure file {path} holds positions or a cell that are not finite numbers")
    if atoms.pbc.all() and atoms.cell.rank < len(atoms.pbc):
        raise InputError(f"structure file {path} is periodic but its cell has no volume; give three cell vectors")
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
