"""Formats of biomolecular codes, whose atoms have names: PDB files without their column of elements, and GRO files.

ASE's readers guess from the first letters, and take the alpha carbon CA for calcium and sodium NA for nitrogen.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

from ase import Atoms
from ase.data import atomic_numbers

from al_loop.files.readers.element_labels import ISOTOPES_u, relabel

GRO: Final = "gromacs"
PDB: Final = "proteindatabank"
_NAMES: Final = "atomtypes"  # array in which ASE's readers leave the names


def relabelled(path: Path, file_format: str, frames: Iterator[Atoms], names: Mapping[str, str]) -> Iterator[Atoms]:
    """Yield the frames of a file with the elements that their atoms' names say; other formats as they are.

    Args:
        path: of the file.
        file_format: ASE's name of the format.
        frames: as ASE reads them.
        names: atom's name -> symbol, as the user says.

    Raises:
        InputError: names that do not say an element; see ``al_loop.files.readers.element_labels``.
    """
    labels = _pdb_labels(path) if file_format == PDB else iter(())
    for index, atoms in enumerate(frames):
        where = f"{path}, frame {index}"
        if file_format == GRO and atoms.has(_NAMES):
            relabel(atoms, [str(name) for name in atoms.arrays[_NAMES]], names, where)
        elif file_format == PDB:
            relabel(atoms, list(islice(labels, len(atoms))), names, where)
        yield atoms


def _pdb_labels(path: Path) -> Iterator[str]:
    """The element of each atom, or its name where columns 77 and 78 hold no element."""
    from ase.io.formats import open_with_compression

    with open_with_compression(str(path), "r") as file:
        for line in file:
            if line.startswith(("ATOM", "HETATM")):
                element = line[76:78].strip().capitalize()
                known = element in ISOTOPES_u or (element in atomic_numbers and element != "X")
                yield element if known else line[12:16].strip()
