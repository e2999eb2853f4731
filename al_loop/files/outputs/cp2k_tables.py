"""The tables in CP2K's output, in the formats of versions 6 to 2026."""

import re
from typing import Final

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import Bohr, GPa, Hartree
from numpy.typing import NDArray

from al_loop.files.outputs.step import OutputError

Array = NDArray[np.float64]

_NUMBER: Final = r"([-+]?\d+\.\d+(?:[EeDd][-+]?\d+)?)"
_THREE: Final = rf"{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}"
_COORDINATES: Final = re.compile(r"ATOMIC COORDINATES IN angstrom", re.IGNORECASE)
_ATOM: Final = re.compile(rf"\s+\d+\s+\d+\s+[A-Z][A-Za-z]?\s+(\d+)\s+{_THREE}")
_FORCES: Final = re.compile(r"ATOMIC FORCES in \[a\.u\.\]|FORCES\| Atomic forces \[hartree/bohr\]")
_FORCE: Final = re.compile(rf"\s+(?:FORCES\|\s+\d+|\d+\s+\d+\s+\S+)\s+{_THREE}")
_STRESS: Final = re.compile(r"stress tensor \[(GPa|bar)\]", re.IGNORECASE)
_ROW: Final = re.compile(rf"\s+(?:STRESS\|\s+)?[XYZxyz]\s+{_THREE}")
_VECTOR: Final = re.compile(r"^ CELL\| Vector [abc] \[\S+\]:\s+(.*?)\s*\|[abc]\|\s*=\s*(\S+)", re.MULTILINE)
_UNITS: Final = {"gpa": GPa, "bar": 1e-4 * GPa}
_LINES_OF_A_HEADLINE: Final = 5


def structure(text: str) -> tuple[list[int], Array] | None:
    """Atomic numbers and positions (n, 3) in Å of the last table of coordinates, None without one."""
    found = list(_COORDINATES.finditer(text))
    rows = _rows(text[found[-1].end() :], _ATOM) if found else []
    if not rows:
        return None
    return [int(row[0]) for row in rows], np.array([row[1:] for row in rows], dtype=np.float64)


def cell(text: str) -> Array | None:
    """The last cell (3, 3) in Å, None without one."""
    rows = _VECTOR.findall(text)[-3:]
    if len(rows) != 3:  # noqa: PLR2004
        return None
    vectors = np.array([row[0].split() for row in rows], dtype=np.float64)
    # Vectors have three decimals in many versions, their lengths more in some.
    lengths = np.array([row[1] for row in rows], dtype=np.float64)
    scaled: Array = vectors * (lengths / np.linalg.norm(vectors, axis=1))[:, None]
    return scaled


def forces_eV_per_A(text: str, count: int) -> Array | None:
    """The first table of forces, None without one.

    Raises:
        OutputError: it has another number of rows.
    """
    found = _FORCES.search(text)
    if found is None:
        return None
    rows = np.array(_rows(text[found.end() :], _FORCE), dtype=np.float64)
    if rows.shape != (count, 3):
        raise OutputError(f"a table of forces has {len(rows)} rows, expected one for each of {count} atoms")
    scaled: Array = rows * Hartree / Bohr
    return scaled


def stress_eV_per_A3(text: str) -> Array | None:
    """The first stress (6,) in ASE's order and sign, None without one; CP2K prints a pressure tensor."""
    found = _STRESS.search(text)
    rows = _rows(text[found.end() :], _ROW) if found else []
    if found is None or len(rows) != 3:  # noqa: PLR2004
        return None
    tensor = np.array(rows, dtype=np.float64) * _UNITS[found[1].lower()]
    return np.asarray(full_3x3_to_voigt_6_stress(-tensor), dtype=np.float64)


def _rows(text: str, pattern: re.Pattern[str]) -> list[tuple[str, ...]]:
    """The rows of a table, which begins within a few lines and ends with the first line of another form."""
    rows: list[tuple[str, ...]] = []
    start = 0
    for number in range(len(text)):
        end = text.find("\n", start)
        if end < 0:
            break
        row = pattern.match(text, start, end)
        if row:
            rows.append(tuple(word.replace("D", "E") for word in row.groups()))
        elif rows or number > _LINES_OF_A_HEADLINE:
            break
        start = end + 1
    return rows
