"""The frames of an XYZ file as texts, one in memory at a time, and the labels of their atoms."""

import re
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import IO, Final

from ase import Atoms

from al_loop.files.readers.element_labels import elements_of, plain_symbols, put_isotopes
from al_loop.files.readers.unfinished import check_last_row, opened_as_it_is
from al_loop.files.text.extxyz_text import MAX_LINE
from al_loop.files.text.written_entries import restore_constraints

XYZ: Final = ("extxyz", "xyz")
"""ASE's names of the formats that are read here."""

_PROPERTIES: Final = re.compile(r"""(?:^|\s)Properties\s*=\s*["']?([^\s"']+)""")
_PBC: Final = re.compile(
    r"""(?:^|\s)(pbc)\s*=\s*(?:"([^"]*)"|'([^']*)'|(\S+(?:\s+(?:T|F|0|1)(?=\s|$))*))""", re.IGNORECASE
)
_OTHER_STRINGS: Final = re.compile(r"""(\b(?!pbc\b)\w+\s*=\s*)(?:"[^"]*"|'[^']*')""", re.IGNORECASE)
_TRUTH: Final = ({"T", "F"}, {"True", "False"}, {"true", "false"}, {"TRUE", "FALSE"}, {"0", "1"})
"""Spellings of true and false; ASE's reader takes mixed ones for true."""
_DIGITS: Final = 12  # of a count of atoms or of a column's width; nothing is longer
_VECTOR: Final = "VEC"  # begins the rows behind the atoms that hold the cell in some files


def frame_texts(file: IO[str], most_atoms: int | None = None) -> Iterator[str]:
    """Yield the text of each frame of an open file.

    Raises:
        ValueError: no count of atoms where one should stand, a line that is too long, or a file that is cut off.
        UnicodeDecodeError: no text.
    """
    first = _line(file)
    while first:
        if not first.strip():  # blank lines between or behind frames
            first = _line(file)
            continue
        count = _count(first, most_atoms)
        lines = [first, *(_line(file) for _ in range(count + 1))]
        if not lines[-1].strip():
            raise ValueError(f"it is cut off: the file ends in the middle of a frame of {count} atoms")
        if not lines[-1].endswith("\n"):
            check_last_row(lines[-1], lines[2:-1])
        first = _line(file)
        while first.lstrip().startswith(_VECTOR):
            lines.append(first)
            first = _line(file)
        yield "".join(lines)


def named_elements(text: str, names: Mapping[str, str], where: str, option: str = "--species") -> tuple[str, list[str]]:
    """Return a frame's text with symbols in place of labels, and the symbols, D and T among them.

    Args:
        text: of one frame.
        names: label -> symbol, as the user says.
        where: file and frame, for messages.
        option: what a message tells the user to give.

    Raises:
        InputError: labels that do not say elements; see ``al_loop.files.readers.element_labels``.
    """
    lines = text.split("\n")
    place = _label_place(lines[1])
    if place is None:
        return text, []
    count = int(lines[0])
    rows = [line.split(maxsplit=place + 1) for line in lines[2 : 2 + count]]
    labels = [row[place] if len(row) > place else "" for row in rows]
    if not all(labels):
        return text, []  # the reader says what is wrong with the row
    symbols = elements_of(labels, names, where, option)
    plain = plain_symbols(symbols)
    if plain == labels:
        return text, symbols
    for index, (row, symbol) in enumerate(zip(rows, plain, strict=True)):
        lines[2 + index] = " ".join([*row[:place], symbol, *row[place + 1 :]])
    return "\n".join(lines), symbols


def xyz_frames(
    path: Path, file_format: str = "extxyz", names: Mapping[str, str] | None = None, option: str = "--species"
) -> Iterator[Atoms]:
    """Yield the frames of a file as ASE reads them, with elements for labels, masses for D and T, all constraints.

    A file that grows meanwhile is read up to where it ended.

    Args:
        path: of the file, compressed or not.
        file_format: one of ``XYZ``.
        names: label -> symbol, as the user says.
        option: what a message about labels tells the user to give.

    Raises:
        InputError: labels that do not say elements; see ``al_loop.files.readers.element_labels``.
        Exception: whatever ASE's reader raises.
    """
    with opened_as_it_is(path) as file:
        for index, text in enumerate(frame_texts(file)):
            yield atoms_of(text, file_format, names or {}, f"{path}, frame {index}", option)


def atoms_of(text: str, file_format: str, names: Mapping[str, str], where: str, option: str = "--species") -> Atoms:
    """Return one frame of its text; see ``xyz_frames``."""
    from ase.io import read

    _check_rows(text)
    _check_pbc(text.split("\n", 2)[1])
    named, symbols = named_elements(text, names, where, option)
    atoms = read(StringIO(named), format=file_format, index=0)
    put_isotopes(atoms, symbols)
    restore_constraints(atoms, where)
    return atoms


def _label_place(header: str) -> int | None:
    """In which word of a row the label stands; None where the file has atomic numbers."""
    stated = _PROPERTIES.search(header)
    if stated is None:
        return 0
    words = stated.group(1).split(":")
    place = 0
    for name, width in zip(words[::3], words[2::3], strict=False):
        if name in {"species", "symbols"}:
            return place
        if name in {"Z", "numbers"}:
            return None
        place += int(width) if width.isdecimal() else 1
    return None


def _check_rows(text: str) -> None:
    """Refuse rows that do not hold what the columns state.

    ASE's reader would make room for as many columns as are stated, and pass over what stands behind them.
    """
    count, header, *rows = text.split("\n")
    stated = _PROPERTIES.search(header)
    widths = [] if stated is None else stated.group(1).split(":")[2::3]
    if not widths or not all(width.isdecimal() for width in widths):
        return
    expected = sum(map(int, widths)) if max(map(len, widths)) <= _DIGITS else 0
    for index, row in enumerate(rows[: int(count)]):
        held = len(row.split())
        if held != expected:
            raise ValueError(
                f"its Properties state columns of {', '.join(widths)[:60]} values, and row {index} holds {held}"
            )


def _check_pbc(header: str) -> None:
    """Refuse a periodicity in words that ASE's reader would take for true.

    Raises:
        ValueError: it is neither one nor three of T, F, True, False, 0 and 1, or under a name that is not read.
    """
    for name, *values in _PBC.findall(_OTHER_STRINGS.sub(r"\1", header)):
        unquoted = values[2].split()
        words = re.split(r"[\s,]+", next(filter(None, values), "").strip())
        if name != "pbc" or len(words) not in {1, 3} or len(unquoted) > 1 or not any(map(set(words).issubset, _TRUTH)):
            raise ValueError(f"it states {name}={' '.join(words)[:40]!r}, expected three of T and F in quotes")


def _count(line: str, most: int | None) -> int:
    text = line.strip()
    count = int(text) if text.isdecimal() and len(text) < _DIGITS else 0
    if count < 1 or (most is not None and count > most):
        expected = "1 or more" if most is None else f"1 to {most}"
        if text.isdecimal() and not text.strip("0"):
            raise ValueError(f"a frame with no atoms, expected {expected}")
        raise ValueError(f"received {text[:40]!r}, expected the number of atoms, {expected}, as XYZ has it")
    return count


def _line(file: IO[str]) -> str:
    line = file.readline(MAX_LINE)
    if len(line) >= MAX_LINE:
        raise ValueError(f"a line of more than {MAX_LINE} characters")
    return line
