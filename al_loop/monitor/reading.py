"""Frames of a finished trajectory, one at a time: from any code, in bounded memory."""

from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from al_loop.errors import InputError

LAMMPS = "lammps-dump-text"
XDATCAR = "vasp-xdatcar"


def read_frames(path: Path, species: Sequence[str] = (), file_format: str | None = None) -> Iterator[Atoms]:
    """Read frames one by one.

    LAMMPS dumps and VASP's XDATCAR are streamed, and so are all formats that ASE streams, extended XYZ and its own
    among them; vasprun.xml is held in memory by its reader. Energies of LAMMPS dumps, which hold none, are left out.

    Args:
        path: the trajectory.
        species: chemical symbols of the LAMMPS types 1, 2, ...; only for dumps without a column ``element``.
        file_format: ASE's name of the format; by default from name and content.

    Raises:
        InputError: no such file, none that ASE can read, no frames, types without species, or a frame that cannot be
            read, with its number.
    """
    unknown = [symbol for symbol in species if symbol not in atomic_numbers or symbol == "X"]
    if unknown:
        raise InputError(f"--species: {', '.join(unknown)} is no chemical symbol; give one for each LAMMPS type: Na,Cl")
    if not path.is_file():
        raise InputError(f"{path} is not a file; name a trajectory")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty; expected at least one frame")
    from ase.io.formats import UnknownFileTypeError

    file_format = file_format or _format(path)
    frames = _opened(path, file_format, species)
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
        yield atoms
        count += 1
    if count == 0:
        raise InputError(f"{path} holds no frames; expected at least one")


def _format(path: Path) -> str:
    from ase.io.formats import UnknownFileTypeError, filetype

    try:
        return str(filetype(str(path)))
    except (UnknownFileTypeError, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} has a format that ASE does not know; name it with --format, as ase.io does"
        ) from error


def _opened(path: Path, file_format: str, species: Sequence[str]) -> Iterator[Atoms]:
    from ase.io import iread

    if file_format == LAMMPS:
        return _lammps(path, species)
    if file_format == XDATCAR:
        return _xdatcar(path)
    more: dict[str, Any] = {"specorder": list(species)} if species and file_format == "lammps-dump-binary" else {}
    frames: Iterator[Atoms] = iread(str(path), index=":", format=file_format, do_not_split_by_at_sign=True, **more)
    return frames


def _lammps(path: Path, species: Sequence[str]) -> Iterator[Atoms]:
    from ase.io.formats import open_with_compression
    from ase.io.lammpsrun import iread_lammps_dump_text

    _check_types(path, species)
    with open_with_compression(str(path), "r") as file:
        for block in _blocks(file):
            (atoms,) = iread_lammps_dump_text(
                StringIO("".join(block)), index=slice(None), specorder=list(species) or None
            )
            atoms.calc = None  # the reader says 0 eV, which no dump does
            yield atoms


def _blocks(file: TextIO) -> Iterator[list[str]]:
    """Lines of each frame of a dump; one that is cut off, as by a run that was killed, is an error."""
    block: list[str] = []
    for line in file:
        if line.startswith("ITEM: TIMESTEP") and block:
            yield _whole(block)
            block = []
        block.append(line)
    if block:
        yield _whole(block)


def _whole(block: list[str]) -> list[str]:
    starts = {line[6:11].strip(): number for number, line in enumerate(block) if line.startswith("ITEM:")}
    expected = int(block[starts["NUMBE"] + 1])
    rows = sum(bool(line.strip()) for line in block[starts["ATOMS"] + 1 :])
    if rows != expected:
        raise ValueError(f"it is cut off: {rows} of {expected} atoms")
    return block


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
    cell = scale * np.array([[float(word) for word in line.split()] for line in header[2:5]])
    symbols = [s for s, n in zip(header[5].split(), header[6].split(), strict=True) for _ in range(int(n))]
    rows = [[float(word) for word in file.readline().split()[:3]] for _ in symbols]
    return Atoms(symbols, cell=cell, scaled_positions=rows, pbc=True)


def _check(path: Path, index: int, atoms: Atoms) -> None:
    if len(atoms) == 0 or (atoms.numbers < 1).any():
        raise InputError(f"{path}, frame {index}: no atoms, or an atom without an element; remove it")
