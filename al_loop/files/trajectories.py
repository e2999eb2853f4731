"""Frames of a finished trajectory, one at a time: from any code, in bounded memory."""

from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TextIO

from ase import Atoms

from al_loop.errors import InputError
from al_loop.files.readers.ase_frames import ase_frames
from al_loop.files.readers.element_labels import (
    Species,
    elements_of,
    plain_symbols,
    put_isotopes,
    relabelled,
    species_of,
)
from al_loop.files.readers.unfinished import check_last_row
from al_loop.files.readers.xdatcar import read_xdatcar
from al_loop.files.readers.xyz_frames import XYZ, xyz_frames
from al_loop.files.stated import as_stated
from al_loop.files.surroundings import UNSTATED, Surroundings
from al_loop.utils.foreign_input import each_read, reading
from al_loop.utils.paths import check_source

LAMMPS = "lammps-dump-text"
LAMMPS_BINARY = "lammps-dump-binary"
XDATCAR = "vasp-xdatcar"
_SAY_TYPES = "name the elements: --species Na,Cl"
_REMEDY = "check that it is complete and that its numbers are valid"
_EXTRA = {"UNITS", "TIME"}
_TIME_PS = {"metal": 1.0, "real": 1e-3, "electron": 1e-3, "si": 1e12, "cgs": 1e12, "micro": 1e6, "nano": 1e3}
"""LAMMPS' units (docs, command ``units``) with what their time is in ps; ``lj`` has no lengths."""
STEP, TIME_PS = "monitor_step", "monitor_time_ps"
"""Keys of ``atoms.info`` with what a LAMMPS dump says of a frame, or a trajectory that ``al-loop monitor`` wrote."""


def read_frames(
    path: Path,
    species: Sequence[str] = (),
    file_format: str | None = None,
    lammps_units: str = "metal",
    surroundings: Surroundings = UNSTATED,
) -> Iterator[Atoms]:
    """Read frames one by one.

    XYZ, LAMMPS dumps and VASP's XDATCAR are streamed, and so are all formats that ASE streams, its own among them;
    vasprun.xml is held in memory by its reader. Energies of LAMMPS dumps, which hold none, are left out.

    Args:
        path: the trajectory.
        species: symbols of the LAMMPS types 1, 2, ... or of the species of an XDATCAR, in their order; or, as
            ``label=symbol``, of labels of atoms that do not say which element they mean.
        file_format: ASE's name of the format; by default from name and content.
        lammps_units: of a dump that does not name its own (``dump_modify units yes``).
        surroundings: cell and periodicity of frames that have none.

    Raises:
        InputError: no such file, none that ASE can read, no frames, types or labels without an element, a cell or
            periodicity that the file states otherwise, or a frame that cannot be read, with its number.
    """
    known = species_of(species)
    _check_arguments(path, lammps_units)
    count = 0
    with reading(path, _REMEDY):
        file_format = _format(path, file_format)
        frames = _opened(path, file_format, known, lammps_units)
    for atoms in each_read(frames, lambda number: f"{path}: frame {number} of the format {file_format}", _REMEDY):
        where = f"{path}, frame {count}"
        with reading(where, "correct the frame, or remove it"):
            _check(path, count, atoms)
            surroundings.put_round(atoms, where)
            as_stated(atoms, where)
        yield atoms
        count += 1
    if count == 0:
        raise InputError(f"{path} holds no frames; expected at least one")


def _check_arguments(path: Path, lammps_units: str) -> None:
    if lammps_units not in _TIME_PS:
        raise InputError(f"--lammps-units: received {lammps_units}, expected one of {', '.join(_TIME_PS)}")
    check_source(str(path), path, "name a trajectory")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty; expected at least one frame")


def _format(path: Path, named: str | None) -> str:
    from ase.io.formats import UnknownFileTypeError, filetype, get_ioformat

    try:
        return str(get_ioformat(named or filetype(str(path))).name)
    except UnknownFileTypeError as error:
        raise InputError(
            f"{path} has a format that ASE does not know; name it with --format, as ase.io does"
        ) from error


def _opened(path: Path, file_format: str, species: Species, lammps_units: str) -> Iterator[Atoms]:
    from ase.io import iread

    if file_format == LAMMPS:
        return _lammps(path, species, lammps_units)
    if file_format == XDATCAR:
        return _xdatcar(path, species)
    if file_format == LAMMPS_BINARY:
        types = plain_symbols(_types(path, species))
        if not types:
            raise InputError(f"{path} names its atoms by LAMMPS types; {_SAY_TYPES}")
        return iter(iread(str(path), index=":", format=file_format, do_not_split_by_at_sign=True, specorder=types))
    if species.order:
        raise InputError(
            f"--species: received {','.join(species.order)}, and {path} ({file_format}) has neither LAMMPS types nor "
            "an order of species; name its labels instead, as --species OW=O,HW=H"
        )
    if file_format in XYZ:
        return xyz_frames(path, file_format, species.names)
    return relabelled(path, file_format, ase_frames(path, file_format=file_format), species.names)


def _xdatcar(path: Path, species: Species) -> Iterator[Atoms]:
    from ase.io.formats import open_with_compression

    with open_with_compression(str(path), "r") as file:
        yield from read_xdatcar(path, file, species)


def _lammps(path: Path, species: Species, units: str) -> Iterator[Atoms]:
    from ase.io.formats import open_with_compression
    from ase.io.lammpsrun import iread_lammps_dump_text

    types = _types(path, species)
    _check_types(path, types)
    by_type = plain_symbols(types) or None
    with open_with_compression(str(path), "r") as file:
        for index, items in enumerate(_dump_frames(file)):
            units = _known_units(items.get("UNITS", [units])[0].strip())
            symbols = _name_elements(items, species.names, f"{path}, frame {index}")
            text = "".join(f"ITEM: {name}\n{''.join(lines)}" for name, lines in items.items() if name not in _EXTRA)
            (atoms,) = iread_lammps_dump_text(StringIO(text), index=slice(None), specorder=by_type, units=units)
            if not symbols and types and "type" in atoms.arrays:
                symbols = [types[number - 1] for number in atoms.arrays["type"]]
            put_isotopes(atoms, symbols)
            atoms.calc = None  # the reader says 0 eV, which no dump does
            atoms.info[STEP] = atoms.info.pop("timestep")
            if "TIME" in items:
                atoms.info[TIME_PS] = float(items["TIME"][0]) * _TIME_PS[units]
            yield atoms


def _dump_frames(file: TextIO) -> Iterator[dict[str, list[str]]]:
    """The items of each frame, with their lines; a frame that is cut off, as by a run that was killed, is an error.

    ``UNITS`` and ``TIME``, which some dumps have, stand before the time step of their frame.
    """
    items: dict[str, list[str]] = {}
    name = ""
    for line in file:
        if not line.startswith("ITEM:"):
            if name:
                items[name].append(line)
            continue
        if name.startswith("ATOMS"):
            yield _whole(items)
            items = {}
        name = line[5:].strip()
        items[name] = []
    if items:
        yield _whole(items)


def _whole(items: dict[str, list[str]]) -> dict[str, list[str]]:
    rows = next((lines for name, lines in items.items() if name.startswith("ATOMS")), [])
    rows = [line for line in rows if line.strip()]
    expected = int(items["NUMBER OF ATOMS"][0]) if items.get("NUMBER OF ATOMS") else 0
    if len(rows) != expected or not rows:
        raise ValueError(f"it is cut off: {len(rows)} of {expected or 'unknown'} atoms")
    check_last_row(rows[-1], rows[:-1])
    return items


def _name_elements(items: dict[str, list[str]], names: Mapping[str, str], where: str) -> list[str]:
    """Replace labels by symbols in the column ``element``, if there is one; return them in the order of ids."""
    title = next(name for name in items if name.startswith("ATOMS"))
    columns = title.split()[1:]
    if "element" not in columns:
        return []
    place = columns.index("element")
    rows = [line.split() for line in items[title] if line.strip()]
    symbols = elements_of([row[place] for row in rows], names, where)
    for row, symbol in zip(rows, plain_symbols(symbols), strict=True):
        row[place] = symbol
    items[title] = [" ".join(row) + "\n" for row in rows]
    ids = [int(row[columns.index("id")]) for row in rows] if "id" in columns else range(len(rows))
    return [symbol for _, symbol in sorted(zip(ids, symbols, strict=True))]


def _types(path: Path, species: Species) -> list[str]:
    """Symbols of LAMMPS types 1, 2, ..., given in order or one by one (1=Na,2=Cl)."""
    if species.order:
        return list(species.order)
    numbers = sorted(int(label) for label in species.names if label.isdecimal())
    if numbers and numbers != list(range(1, len(numbers) + 1)):
        raise InputError(f"--species: {path} has LAMMPS types; received {numbers}, expected each from 1 on: 1=Na,2=Cl")
    return [species.names[str(number)] for number in numbers]


def _known_units(name: str) -> str:
    if name not in _TIME_PS:
        raise ValueError(f"its units are {name}; expected one of {', '.join(_TIME_PS)}")
    return name


def _check_types(path: Path, species: Sequence[str]) -> None:
    """Raise for LAMMPS types without elements: the reader would treat type 1 as hydrogen."""
    from ase.io.formats import open_with_compression

    with open_with_compression(str(path), "r") as file:
        columns = next((line.split()[2:] for line in file if line.startswith("ITEM: ATOMS")), None)
        if columns is None:
            raise InputError(f"{path} is cut off or empty: it has no line 'ITEM: ATOMS'")
        if {"element", "mass"} & set(columns):
            return
        if not species:
            raise InputError(f"{path} names its atoms by LAMMPS types; {_SAY_TYPES}")
        if "type" not in columns:
            raise InputError(f"{path} has neither a column type nor element; dump one of them")
        column, largest = columns.index("type"), 0
        for line in file:
            if line.startswith("ITEM:"):
                break
            words = line.split()
            if len(words) > column and words[column].isdigit():
                largest = max(largest, int(words[column]))
    if largest > len(species):
        raise InputError(
            f"{path} has LAMMPS types up to {largest}, --species names {len(species)} ({','.join(species)}); "
            "give one symbol for each type"
        )


def _check(path: Path, index: int, atoms: Atoms) -> None:
    if len(atoms) == 0 or (atoms.numbers < 1).any():
        raise InputError(f"{path}, frame {index}: no atoms, or an atom without an element; remove it")
