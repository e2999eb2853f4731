"""Frames of a finished trajectory, one at a time: from any code, in bounded memory."""

from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import TextIO

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from al_loop.errors import InputError
from al_loop.files.ase_frames import ase_frames
from al_loop.files.stated import as_stated

LAMMPS = "lammps-dump-text"
XDATCAR = "vasp-xdatcar"
_EXTRA = {"UNITS", "TIME"}
_TIME_PS = {"metal": 1.0, "real": 1e-3, "electron": 1e-3, "si": 1e12, "cgs": 1e12, "micro": 1e6, "nano": 1e3}
"""LAMMPS' units (docs, command ``units``) with what their time is in ps; ``lj`` has no lengths."""
STEP, TIME_PS = "monitor_step", "monitor_time_ps"
"""Keys of ``atoms.info`` with what a LAMMPS dump says of a frame, under names that no other file has."""


def read_frames(
    path: Path, species: Sequence[str] = (), file_format: str | None = None, lammps_units: str = "metal"
) -> Iterator[Atoms]:
    """Read frames one by one.

    LAMMPS dumps and VASP's XDATCAR are streamed, and so are all formats that ASE streams, extended XYZ and its own
    among them; vasprun.xml is held in memory by its reader. Energies of LAMMPS dumps, which hold none, are left out.

    Args:
        path: the trajectory.
        species: chemical symbols of the LAMMPS types 1, 2, ...; only for dumps without a column ``element``.
        file_format: ASE's name of the format; by default from name and content.
        lammps_units: of a dump that does not name its own (``dump_modify units yes``).

    Raises:
        InputError: no such file, none that ASE can read, no frames, types without species, or a frame that cannot be
            read, with its number.
    """
    _check_arguments(path, species, lammps_units)
    from ase.io.formats import UnknownFileTypeError

    file_format = file_format or _format(path)
    frames = _opened(path, file_format, species, lammps_units)
    count = 0
    while True:
        try:
            atoms = next(frames)
        except StopIteration:
            break
        except InputError:
            raise
        except UnknownFileTypeError as error:
            raise InputError(f"{path} has a format that ASE does not know; name it with --format") from error
        except Exception as error:  # readers raise anything
            raise InputError(
                f"{path}: frame {count} cannot be read as {file_format} ({type(error).__name__}: {error}); check that "
                "it is complete and that its numbers are numbers"
            ) from error
        _check(path, count, atoms)
        yield as_stated(atoms, f"{path}, frame {count}")
        count += 1
    if count == 0:
        raise InputError(f"{path} holds no frames; expected at least one")


def _check_arguments(path: Path, species: Sequence[str], lammps_units: str) -> None:
    unknown = [symbol for symbol in species if symbol not in atomic_numbers or symbol == "X"]
    if unknown:
        raise InputError(f"--species: {', '.join(unknown)} is no chemical symbol; give one for each LAMMPS type: Na,Cl")
    if lammps_units not in _TIME_PS:
        raise InputError(f"--lammps-units: received {lammps_units}, expected one of {', '.join(_TIME_PS)}")
    if not path.is_file():
        raise InputError(f"there is no file {path}; name a trajectory")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty; expected at least one frame")


def _format(path: Path) -> str:
    from ase.io.formats import UnknownFileTypeError, filetype

    try:
        return str(filetype(str(path)))
    except (UnknownFileTypeError, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} has a format that ASE does not know; name it with --format, as ase.io does"
        ) from error


def _opened(path: Path, file_format: str, species: Sequence[str], lammps_units: str) -> Iterator[Atoms]:
    from ase.io import iread

    if file_format == LAMMPS:
        return _lammps(path, species, lammps_units)
    if file_format == XDATCAR:
        return _xdatcar(path)
    if species and file_format == "lammps-dump-binary":
        frames: Iterator[Atoms] = iread(
            str(path), index=":", format=file_format, do_not_split_by_at_sign=True, specorder=list(species)
        )
        return frames
    return ase_frames(path, file_format=file_format)


def _lammps(path: Path, species: Sequence[str], units: str) -> Iterator[Atoms]:
    from ase.io.formats import open_with_compression
    from ase.io.lammpsrun import iread_lammps_dump_text

    _check_types(path, species)
    with open_with_compression(str(path), "r") as file:
        for items in _dump_frames(file):
            units = _known_units(items.get("UNITS", [units])[0].strip())
            text = "".join(f"ITEM: {name}\n{''.join(lines)}" for name, lines in items.items() if name not in _EXTRA)
            (atoms,) = iread_lammps_dump_text(
                StringIO(text), index=slice(None), specorder=list(species) or None, units=units
            )
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
    if len(rows) != expected or not (rows and rows[-1].endswith("\n")):
        raise ValueError(f"it is cut off: {len(rows)} of {expected or 'unknown'} atoms")
    return items


def _known_units(name: str) -> str:
    if name not in _TIME_PS:
        raise ValueError(f"its units are {name}; expected one of {', '.join(_TIME_PS)}")
    return name


def _check_types(path: Path, species: Sequence[str]) -> None:
    """Refuse LAMMPS types whose elements nobody tells: the reader would take type 1 for hydrogen."""
    from ase.io.formats import open_with_compression

    with open_with_compression(str(path), "r") as file:
        columns = next((line.split()[2:] for line in file if line.startswith("ITEM: ATOMS")), None)
        if columns is None:
            raise InputError(f"{path} is cut off or empty: it has no line 'ITEM: ATOMS'")
        if {"element", "mass"} & set(columns):
            return
        if not species:
            raise InputError(f"{path} names its atoms by LAMMPS types; say which elements they are: --species Na,Cl")
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


def _xdatcar(path: Path) -> Iterator[Atoms]:
    """VASP's XDATCAR; the header is repeated where the cell changes."""
    from ase.io.formats import open_with_compression

    with open_with_compression(str(path), "r") as file:
        header: list[str] = []
        while line := file.readline():
            if not line.startswith("Direct configuration="):
                header = [line, *(file.readline() for _ in range(6))]
                continue
            yield _xdatcar_frame(header, file)


def _xdatcar_frame(header: list[str], file: TextIO) -> Atoms:
    scale = float(header[1])
    cell = np.array([[float(word) for word in line.split()] for line in header[2:5]])
    cell *= scale if scale > 0 else (-scale / abs(np.linalg.det(cell))) ** (1 / 3)  # negative: the volume, Å³
    symbols = [s for s, n in zip(header[5].split(), header[6].split(), strict=True) for _ in range(int(n))]
    lines = [file.readline() for _ in symbols]
    if not lines[-1].endswith("\n"):
        raise ValueError("it is cut off in its last line")
    rows = [[float(word) for word in line.split()[:3]] for line in lines]
    return Atoms(symbols, cell=cell, scaled_positions=rows, pbc=True)


def _check(path: Path, index: int, atoms: Atoms) -> None:
    if len(atoms) == 0 or (atoms.numbers < 1).any():
        raise InputError(f"{path}, frame {index}: no atoms, or an atom without an element; remove it")
