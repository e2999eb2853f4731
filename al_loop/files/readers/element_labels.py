"""Labels of atoms in files (Ti_pv, O/1a2b3c4d, OW, HW1, Na+) and the elements that they mean, if they mean one.

PDB files without their column of elements and GRO files hold names of atoms: ASE's readers guess from first letters,
and take the alpha carbon CA for calcium and sodium NA for nitrogen.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from ase import Atoms
from ase.data import atomic_numbers

from al_loop.errors import InputError

ISOTOPES_u: Final = {"D": 2.01410177812, "T": 3.01604928199}
"""Masses of hydrogen's isotopes that have names of their own, as neutral atoms: the atomic mass evaluation AME2020,
Chinese Physics C 45, 030003 (2021)."""

_ELEMENTS: Final = frozenset(atomic_numbers) - {"X"}
_LETTERS: Final = re.compile(r"([A-Za-z]+)(?:[^A-Za-z].*)?", re.DOTALL)
_FRACTIONAL: Final = re.compile(r"H\d*\.\d+")  # VASP's H.5, H1.25: charges that saturate a surface, no hydrogen
_NAMED_ATOMS: Final = "CHNOPS"
"""First letters of names in force fields and proteins, where a second letter says which atom it is: CA is the alpha
carbon or calcium."""
_PLACES: Final = "ABDEFGHMOPSZ"
_LONGEST: Final = 2  # letters; longer names (SOD, POT, CLA) mean no element by their first letters


@dataclass(frozen=True)
class Species:
    """What a user says of the labels of a file.

    Attributes:
        order: symbols of LAMMPS types 1, 2, ..., or of the species of an XDATCAR in their order.
        names: label -> symbol.
    """

    order: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)


def species_of(words: Sequence[str]) -> Species:
    """Read ``--species``: either ``Na, Cl`` or ``Ti_pv=Ti, OW=O``.

    Raises:
        InputError: no chemical symbols, or both forms together.
    """
    given = [word.strip() for word in words]
    pairs = [word.rsplit("=", 1) for word in given]
    symbols = [pair[-1].strip() for pair in pairs]
    unknown = [symbol for symbol in symbols if symbol not in _ELEMENTS and symbol not in ISOTOPES_u]
    if unknown:
        raise InputError(
            f"--species: {', '.join(map(repr, unknown))} is no chemical symbol; give one for each LAMMPS type (Na,Cl) "
            "or for each label (Ti_pv=Ti,OW=O)"
        )
    named = [pair for pair in pairs if len(pair) > 1]
    if named and len(named) < len(pairs):
        raise InputError(
            f"--species: received {','.join(given)}, expected symbols alone (Na,Cl) or labels with symbols "
            "(Ti_pv=Ti,OW=O), not both"
        )
    if named:
        return Species(names={pair[0].strip(): symbol for pair, symbol in zip(pairs, symbols, strict=True)})
    return Species(order=tuple(symbols))


def readings(label: str) -> tuple[str, ...]:
    """Return the symbols that a label may mean: one if there is no doubt, none if it is no element's.

    A symbol may be followed by anything that is no letter (``Ti_pv``, ``O/1a2b3c4d``, ``Fe_sv_GW``, ``H1``, ``Cl-``),
    or by one letter that makes no element of it (``OW``, ``HW1``). Two letters in one case that make an element may
    still be the name of an atom: ``CA`` is calcium or an alpha carbon. D and T stand for themselves.
    """
    found = None if _FRACTIONAL.fullmatch(label) else _LETTERS.fullmatch(label)
    letters = "" if found is None else found.group(1)
    if letters in _ELEMENTS:
        return (letters,)
    if letters.upper() in ISOTOPES_u:
        return (letters.upper(),)
    if not 0 < len(letters) <= _LONGEST:
        return ()
    whole, first = letters.capitalize(), letters[0].upper()
    named = len(letters) > 1 and first in _NAMED_ATOMS and letters[1].upper() in _PLACES
    candidates = (whole, first) if named or whole not in _ELEMENTS else (whole,)
    return tuple(dict.fromkeys(symbol for symbol in candidates if symbol in _ELEMENTS))


def elements_of(labels: Sequence[str], names: Mapping[str, str], where: str, option: str = "--species") -> list[str]:
    """Return the symbol (D and T among them) of each label.

    Args:
        labels: one for each atom or species.
        names: label -> symbol, as the user says; they come first.
        where: file and frame, for messages.
        option: what the message tells the user to give.

    Raises:
        InputError: labels that mean no element or may mean several, all of them at once.
    """
    known = {label: (names[label],) if label in names else readings(label) for label in dict.fromkeys(labels)}
    doubtful = {label: found for label, found in known.items() if len(found) != 1}
    if doubtful:
        found_labels = ", ".join(f"{label} ({' or '.join(found) or 'no element'})" for label, found in doubtful.items())
        example = ",".join(f"{label}={found[-1] if found else 'Symbol'}" for label, found in doubtful.items())
        raise InputError(f"{where}: labels that do not name an element: {found_labels}; give {option} {example}")
    return [known[label][0] for label in labels]


def plain_symbols(symbols: Sequence[str]) -> list[str]:
    """Return symbols as ASE knows them: H for D and T."""
    return ["H" if symbol in ISOTOPES_u else symbol for symbol in symbols]


def put_isotopes(atoms: Atoms, symbols: Sequence[str]) -> None:
    """Give the atoms that are D or T their masses, in place, unless the structure has masses of its own."""
    if not set(symbols) & set(ISOTOPES_u) or atoms.has("masses") or atoms.has("mass"):
        return
    atoms.set_masses([ISOTOPES_u.get(symbol, mass) for symbol, mass in zip(symbols, atoms.get_masses(), strict=True)])


def relabel(atoms: Atoms, labels: Sequence[str], names: Mapping[str, str], where: str) -> None:
    """Set the elements of n atoms by their labels, in place; see ``elements_of``."""
    symbols = elements_of(labels, names, where)
    atoms.set_chemical_symbols(plain_symbols(symbols))
    put_isotopes(atoms, symbols)


GRO: Final = "gromacs"
PDB: Final = "proteindatabank"
_NAMES: Final = "atomtypes"  # array in which ASE's readers leave the names


def relabelled(path: Path, file_format: str, frames: Iterator[Atoms], names: Mapping[str, str]) -> Iterator[Atoms]:
    """Yield the frames of a file with the elements that their atoms' names say; other formats as they are.

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
