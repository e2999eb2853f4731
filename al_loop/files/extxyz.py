"""Extended XYZ, frame by frame and with every bit of the numbers.

Numbers are written with as many digits as tell them from every other float64 (``repr``, up to 17), where ASE's own
writer keeps eight decimals. Labels stand under ``REF_energy``, ``REF_forces``, ``REF_stress`` and ``REF_magmoms``, so
that no reader moves them into a calculator, everything else under one key that holds JSON.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
from ase import Atoms
from ase.io import read
from numpy.typing import NDArray

from al_loop.errors import InputError
from al_loop.files.isotopes import with_hydrogen
from al_loop.files.record import PROVENANCE, Record
from al_loop.frames import KEPT

MAGMOMS: Final = "REF_magmoms"
MAX_ATOMS: Final = 300_000
MAX_LINE: Final = 16 * 2**20  # characters


def write_frame(file: TextIO, record: Record) -> None:
    """Write one frame behind the others."""
    atoms, label = record.atoms, record.label
    columns: list[tuple[str, NDArray[np.float64]]] = [("pos", atoms.positions)]
    if atoms.has("initial_magmoms"):
        columns.append(("initial_magmoms", atoms.get_initial_magnetic_moments()))
    if label is not None and label.forces_eV_per_A is not None:
        columns.append(("REF_forces", label.forces_eV_per_A))
    if label is not None and label.magnetic_moments_uB is not None:
        columns.append((MAGMOMS, label.magnetic_moments_uB))
    shaped = [(name, np.asarray(values, dtype=np.float64).reshape(len(atoms), -1)) for name, values in columns]
    numbers = np.hstack([values for _, values in shaped]).tolist()
    file.write(f"{len(atoms)}\n{_header(record, shaped)}\n")
    for symbol, row in zip(atoms.symbols, numbers, strict=True):
        file.write(f"{symbol} {_numbers(row)}\n")


def frames(path: Path) -> Iterator[tuple[Atoms, dict[str, Any]]]:
    """Yield each structure as ASE reads it, and its provenance; one frame is in memory at a time.

    Raises:
        InputError: text that is no extended XYZ, or a frame of more than ``MAX_ATOMS`` atoms; nothing of the file is
            ever executed.
    """
    with path.open(encoding="utf-8") as file:
        for index, text in enumerate(_texts(path, file)):
            try:
                atoms = read(io.StringIO(with_hydrogen(text)), format="extxyz", index=0)
            except Exception as error:
                raise InputError(
                    f"{path}, frame {index} is no extended XYZ ({type(error).__name__}: {str(error)[:200]}); "
                    "nothing was imported"
                ) from error
            known = atoms.info.pop(PROVENANCE, {})
            yield atoms, known if isinstance(known, dict) else {}


def _header(record: Record, columns: list[tuple[str, NDArray[np.float64]]]) -> str:
    atoms, label = record.atoms, record.label
    names = "".join(f":{name}:R:{values.shape[1]}" for name, values in columns)
    cell = atoms.cell.array.ravel()
    words = [f'Lattice="{_numbers(cell.tolist())}"'] if cell.any() or np.signbit(cell).any() else []
    words.append(f"Properties=species:S:1{names}")
    words.append(f'pbc="{" ".join("T" if periodic else "F" for periodic in atoms.pbc)}"')
    words += [f"{key}={atoms.info[key]!r}" for key in KEPT if key in atoms.info]
    if label is not None and label.energy_eV is not None:
        words.append(f"REF_energy={float(label.energy_eV)!r}")
        if label.stress_eV_per_A3 is not None:
            words.append(f'REF_stress="{_numbers(np.asarray(label.stress_eV_per_A3, dtype=np.float64).tolist())}"')
    text = json.dumps(record.provenance).replace("\\", "\\\\").replace('"', '\\"')
    return " ".join([*words, f'{PROVENANCE}="_JSON {text}"'])


def _numbers(values: list[float]) -> str:
    return " ".join(map(repr, values))


def _texts(path: Path, file: TextIO) -> Iterator[str]:
    """The text of each frame."""
    index = 0
    while first := _line(path, file, index):
        if not first.strip():  # blank lines between or behind frames
            continue
        count = _count(path, index, first)
        lines = [first, *(_line(path, file, index) for _ in range(count + 1))]
        if not lines[-1]:
            raise InputError(
                f"{path}, frame {index}: the file ends in the middle of a frame of {count} atoms; it was cut off, and "
                "nothing was imported"
            )
        yield "".join(lines)
        index += 1


def _count(path: Path, index: int, line: str) -> int:
    text = line.strip()
    count = int(text) if text.isdecimal() and len(text) <= len(str(MAX_ATOMS)) else 0
    if not 1 <= count <= MAX_ATOMS:
        raise InputError(
            f"{path}, frame {index}: received {text[:40]!r}, expected the number of atoms, 1 to {MAX_ATOMS}, as "
            "extended XYZ has it; nothing was imported"
        )
    return count


def _line(path: Path, file: TextIO, index: int) -> str:
    try:
        line = file.readline(MAX_LINE)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, frame {index}: not text in UTF-8; nothing was imported") from error
    if len(line) >= MAX_LINE:
        raise InputError(f"{path}, frame {index}: a line of more than {MAX_LINE} characters; nothing was imported")
    return line
