"""Deuterium and tritium, which ASE's readers do not know: hydrogen with its mass."""

import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray

from al_loop.errors import InputError
from al_loop.files.readers.element_labels import ISOTOPES_u

READ: Final = "extended XYZ, XYZ, POSCAR, CIF and FHI-aims geometry files"

_POSCAR_SYMBOLS_AT: Final = 5
_CIF_TRITIUM = re.compile(r"(?<![\w'\"])T(\d*[+-]?)(?=\s|$)")


def split_isotopes(symbols: Iterable[str]) -> tuple[list[str], NDArray[np.float64] | None]:
    """Return chemical symbols with H for D and T, and masses (n,) in u; None where there is neither."""
    given = [symbol.capitalize() for symbol in symbols]
    plain = ["H" if symbol in ISOTOPES_u else symbol for symbol in given]
    if plain == given:
        return plain, None
    standard = [atomic_masses[atomic_numbers.get(symbol, 0)] for symbol in plain]
    return plain, np.array([ISOTOPES_u.get(symbol, mass) for symbol, mass in zip(given, standard, strict=True)])


def is_about_isotope(error: Exception) -> bool:
    """Whether a reader of ASE failed because it met the symbol D or T."""
    return bool(re.search(r"(?:^|'|\blabel )[DT]\d*(?:'|\.|$)", str(error))) or "chemical symbols" in str(error)


def read_with_isotopes(path: Path, file_format: str, part: Path) -> Iterator[Atoms]:
    """Yield all frames of a file that holds D or T.

    Args:
        path: the file.
        file_format: ASE's name of it.
        part: an empty file of the caller's, for the same frames with H and a column of masses.

    Raises:
        InputError: a format in which they are not looked for.
        KeyError: it holds neither.
    """
    from ase.io import read

    translated = {"vasp": _poscar, "aims": _aims, "cif": _cif}.get(file_format)
    if translated is None:
        raise InputError(
            f"{path} holds D or T, hydrogen's isotopes, which are read from {READ}; convert it, or write H and a "
            "column masses in extended XYZ"
        )
    text, symbols = translated(path.read_text(encoding="utf-8"))
    part.write_text(text, encoding="utf-8")
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of where ASE's reader of aims will move
        frames = read(part, index=":", format=file_format)
    for atoms in frames if isinstance(frames, list) else [frames]:
        if file_format == "cif":
            _mark_tritium(atoms, symbols)
        else:
            atoms.set_masses(split_isotopes(symbols)[1])
        yield atoms


def _poscar(text: str) -> tuple[str, list[str]]:
    """VASP's POSCAR with the symbols on the sixth line, or on the first as VASP 4 has them."""
    lines = text.splitlines(keepends=True)
    at = _POSCAR_SYMBOLS_AT if not lines[_POSCAR_SYMBOLS_AT].split()[0].isdigit() else 0
    counts = lines[_POSCAR_SYMBOLS_AT + (at > 0)].split()
    kinds = lines[at].split()
    symbols = [kind for kind, count in zip(kinds, counts, strict=False) for _ in range(int(count))]
    _require_isotope(symbols)
    lines[at] = " ".join("H" if kind.capitalize() in ISOTOPES_u else kind for kind in kinds) + "\n"
    return "".join(lines), symbols


def _aims(text: str) -> tuple[str, list[str]]:
    lines, symbols = [], []
    for line in text.splitlines(keepends=True):
        words = line.split()
        if words and words[0] in ("atom", "atom_frac"):
            symbols.append(words[4])
            words[4] = "H" if words[4].capitalize() in ISOTOPES_u else words[4]
            line = " ".join(words) + "\n"  # noqa: PLW2901
        lines.append(line)
    _require_isotope(symbols)
    return "".join(lines), symbols


def _cif(text: str) -> tuple[str, list[str]]:
    """CIF: ASE knows deuterium there, so tritium is read as such."""
    rows = text.splitlines(keepends=True)
    deuterium = re.compile(_CIF_TRITIUM.pattern.replace("T(", "D("))
    data = [not row.lstrip().startswith(("_", "#", "data_", "loop_")) for row in rows]
    if any(use and deuterium.search(row) for use, row in zip(data, rows, strict=True)):
        raise InputError("a CIF file with both D and T is not read; write extended XYZ with H and a column masses")
    rows = [_CIF_TRITIUM.sub(r"D\1", row) if use else row for use, row in zip(data, rows, strict=True)]
    return "".join(rows), ["T"]


def _mark_tritium(atoms: Atoms, symbols: list[str]) -> None:
    masses = atoms.get_masses()
    masses[(atoms.numbers == 1) & (masses > atomic_masses[1] + 0.5)] = ISOTOPES_u[symbols[0]]
    atoms.set_masses(masses)


def _require_isotope(symbols: list[str]) -> None:
    if not {symbol.capitalize() for symbol in symbols} & set(ISOTOPES_u):
        raise KeyError("neither D nor T")
