"""VASP's XDATCAR, frame by frame: of versions 4 and 5, with a fixed or a changing cell, and joined from restarts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.errors import InputError
from al_loop.files.readers.element_labels import Species, elements_of, plain_symbols, put_isotopes
from al_loop.files.readers.unfinished import check_last_row

_FRAME: Final = re.compile(r"\s*(direct|cartesian|konfig)", re.IGNORECASE)
MAX_ATOMS: Final = 10_000_000
_LEAST: Final = 3  # coordinates in a row; flags or further columns may follow


@dataclass(frozen=True)
class _Header:
    symbols: list[str]  # D and T among them
    cell: NDArray[np.float64]
    scale: float | NDArray[np.float64]


def read_xdatcar(path: Path, file: TextIO, species: Species) -> Iterator[Atoms]:
    """Yield the frames of an open XDATCAR.

    A frame begins with a line ``Direct configuration=`` (or ``Cartesian``, ``Konfig=``) or, in old files, with a blank
    line. Anything else is a header: it is repeated where the cell changes, and where files were joined.

    Raises:
        InputError: labels that do not say elements.
        ValueError: what is no XDATCAR, or is cut off.
    """
    header: _Header | None = None
    blank = False
    for line in file:
        if not line.strip():
            blank = True
            continue
        begins = _FRAME.match(line)
        if begins and header is not None:
            yield _frame(header, _rows(file, len(header.symbols)), cartesian=begins.group(1).lower() == "cartesian")
        elif blank and header is not None and _is_row(line):
            yield _frame(header, [line, *_rows(file, len(header.symbols) - 1)], cartesian=False)
        else:
            header = _header(path, file, species)
        blank = False


def _header(path: Path, file: TextIO, species: Species) -> _Header:
    """The lines behind the comment, which has been read."""
    factors = _numbers(file.readline(), (1, 3), "a scale")
    vectors = np.array([_numbers(file.readline(), (3,), "a cell vector") for _ in range(3)])
    names = file.readline().split()
    counts = names if names and all(name.isdecimal() for name in names) else file.readline().split()
    if not names or not counts or not all(count.isdecimal() for count in counts):
        found_labels = f"{' '.join(names)[:60]!r} and {' '.join(counts)[:60]!r}"
        raise ValueError(f"its header has {found_labels}, expected names of species and how many atoms each has")
    volume = abs(np.linalg.det(vectors))
    negative = len(factors) == 1 and factors[0] < 0  # the volume of the cell, Å³
    scale = (-factors[0] / volume) ** (1 / 3) if negative else np.array(factors)
    symbols = _species(path, [] if counts is names else names, counts, species)
    if sum(map(int, counts)) > MAX_ATOMS:
        raise ValueError(f"its header counts {' '.join(counts)[:60]} atoms, expected at most {MAX_ATOMS}")
    each = [symbol for symbol, count in zip(symbols, counts, strict=True) for _ in range(int(count))]
    return _Header(each, vectors * scale, scale)


def _species(path: Path, names: list[str], counts: list[str], species: Species) -> list[str]:
    if species.order:
        if len(species.order) != len(counts):
            raise InputError(
                f"{path} has {len(counts)} species ({' '.join(names or counts)}), --species names "
                f"{len(species.order)} ({','.join(species.order)}); give one symbol for each"
            )
        return list(species.order)
    if not names:
        raise InputError(
            f"{path} does not name its species, it has {', '.join(counts)} atoms of each; name the elements "
            "in this order: --species Na,Cl"
        )
    if len(names) != len(counts):
        raise ValueError(f"its header names {len(names)} species and counts of {len(counts)}")
    return elements_of(names, species.names, str(path))


def _rows(file: TextIO, count: int) -> list[str]:
    return [file.readline() for _ in range(count)]


def _frame(header: _Header, rows: list[str], *, cartesian: bool) -> Atoms:
    present = [row for row in rows if row.strip()]
    if len(present) < len(rows):
        raise ValueError(f"it is cut off: {len(present)} of {len(rows)} atoms")
    check_last_row(rows[-1], rows[:-1])
    if not all(_is_row(row) for row in rows):
        wrong = next(row for row in rows if not _is_row(row))
        raise ValueError(
            f"it has {wrong.strip()[:60]!r} in place of three coordinates; the run may have been cut off there"
        )
    places = np.array([[float(word) for word in row.split()[:_LEAST]] for row in rows])
    atoms = Atoms(plain_symbols(header.symbols), cell=header.cell, pbc=True)
    if cartesian:
        atoms.set_positions(places * header.scale)
    else:
        atoms.set_scaled_positions(places)
    put_isotopes(atoms, header.symbols)
    return atoms


def _is_row(line: str) -> bool:
    words = line.split()[:_LEAST]
    try:
        return len([float(word) for word in words]) == _LEAST
    except ValueError:
        return False


def _numbers(line: str, counts: tuple[int, ...], what: str) -> list[float]:
    words = line.split()
    try:
        found = [float(word) for word in words]
    except ValueError:
        found = []
    if len(found) not in counts:
        raise ValueError(f"its header has {line.strip()[:60]!r} in place of {what}")
    return found
