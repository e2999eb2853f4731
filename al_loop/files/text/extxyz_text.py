"""The text of one extended XYZ frame: the one writer of all that al-loop puts into such files.

Numbers have as many digits as tell them from every other float64 (up to 17), where ASE's own writer keeps eight
decimals. The text is ASCII, and ASE reads it. What the format cannot express stands as JSON under one key more
(``written_entries`` reads it), so that what was written is what is read.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian, FixConstraint
from numpy.typing import NDArray

from al_loop.errors import InputError
from al_loop.files.text.atom_columns import Column, column_of, own_column, says_all, type_of
from al_loop.files.text.header_values import header_value, is_plain_key, json_value, numbers_text
from al_loop.frames.own_entries import ENTRIES, NO_ENTRIES, OURS, OwnEntries, check_entries, is_result
from al_loop.frames.plain_atoms import KEPT, constraints_text
from al_loop.utils.plain_json import encode

MAX_LINE: Final = 16 * 2**20  # characters
MOVE_MASK: Final = "move_mask"


def frame_text(
    atoms: Atoms,
    info: Mapping[str, Any] | None = None,
    arrays: Mapping[str, NDArray[Any]] | None = None,
    entries: OwnEntries = NO_ENTRIES,
) -> str:
    """Return the text of one frame.

    Args:
        atoms: the structure: elements, positions, cell, periodicity, constraints, masses, initial moments, and charge
            and spin in ``info``; its other entries are not written.
        info: what al-loop states of the frame, under names that readers know, such as ``energy``.
        arrays: what it states of the n atoms, each (n, ...).
        entries: the user's own.

    Raises:
        InputError: an entry that no file can hold, or so many that no reader would take the line.
    """
    info, arrays = dict(info or {}), dict(arrays or {})
    columns = [column_of("pos", atoms.positions), *_structure_columns(atoms), *_stated_columns(arrays)]
    placed = [column for column in columns if column is not None]
    try:
        own_words, notes = _own_words(entries, {*info, *arrays, *KEPT})
        notes |= _place_arrays(entries, placed, {*info, *arrays})
    except TypeError:
        check_entries(entries, "a frame")
        raise
    notes["written"] = sorted(name for name in (*info, *arrays) if name not in OURS and not is_result(name))
    notes["constraints"] = _constraints_beside(atoms)
    words = [*_lattice(atoms), _properties(placed), *_structure_words(atoms), *_stated_words(info), *own_words]
    header = " ".join(words + _notes_word(atoms, notes))
    if len(header) >= MAX_LINE:
        raise InputError(
            f"the entries of a frame take {len(header) / 2**20:.0f} MB of text in one line, and readers take "
            f"{MAX_LINE / 2**20:.0f} MB; the entries are {', '.join(map(str, [*entries.info, *entries.arrays]))[:200]}"
        )
    rows = map(" ".join, zip(atoms.symbols, *(column.rows for column in placed), strict=True))
    return "\n".join([str(len(atoms)), header, *rows]) + "\n"


def move_mask(atoms: Atoms, constraints: Collection[FixConstraint]) -> NDArray[np.bool_]:
    """Which coordinates may move, as ASE's own writer says it: (n,), or (n, 3) where single components are fixed."""
    by_component = any(isinstance(one, FixCartesian) for one in constraints)
    mask = np.ones((len(atoms), 3) if by_component else len(atoms), dtype=bool)
    for one in constraints:
        if isinstance(one, FixAtoms):
            mask[one.index] = False
        elif isinstance(one, FixCartesian):
            mask[one.index] &= ~np.asarray(one.mask, dtype=bool)
    return mask


def _properties(columns: Collection[Column]) -> str:
    return "Properties=species:S:1" + "".join(f":{column.name}:{column.kind}:{column.width}" for column in columns)


def _lattice(atoms: Atoms) -> list[str]:
    cell = atoms.cell.array.ravel()
    return [f'Lattice="{numbers_text(cell.tolist())}"'] if cell.any() or np.signbit(cell).any() else []


def _structure_columns(atoms: Atoms) -> list[Column | None]:
    mask = move_mask(atoms, atoms.constraints)
    columns = [] if mask.all() else [column_of(MOVE_MASK, mask)]
    if atoms.has("initial_magmoms"):
        columns.append(column_of("initial_magmoms", atoms.get_initial_magnetic_moments()))
    if atoms.has("masses"):
        columns.append(column_of("masses", atoms.get_masses()))
    return columns


def _stated_columns(arrays: Mapping[str, NDArray[Any]]) -> list[Column | None]:
    return [column_of(name, np.asarray(values)) for name, values in arrays.items()]


def _structure_words(atoms: Atoms) -> list[str]:
    pbc = " ".join("T" if periodic else "F" for periodic in atoms.pbc)
    stated = {key: atoms.info[key] for key in KEPT if atoms.info.get(key) is not None}
    return [f'pbc="{pbc}"', *_stated_words(stated)]


def _stated_words(info: Mapping[str, Any]) -> list[str]:
    return [f"{key}={_stated_value(key, value)}" for key, value in info.items()]


def _stated_value(key: str, value: Any) -> str | None:
    return json_value(value) if isinstance(value, dict) else header_value(key, value)[0]


def _own_words(entries: OwnEntries, taken: Collection[str]) -> tuple[list[str], dict[str, Any]]:
    """Words for the user's entries of ``info``; notes of what the words do not say, and of entries without a word."""
    words: list[str] = []
    retold: dict[str, Any] = {}
    hidden: dict[Any, Any] = {}
    for key, value in entries.info.items():
        text, says_it = header_value(key, value) if is_plain_key(key) and key not in taken else (None, False)
        if text is None:
            hidden[key] = value
            continue
        words.append(f"{key}={text}")
        if not says_it:
            retold[key] = value
    return words, {"info": encode(retold), "hidden": encode(hidden)}


def _place_arrays(entries: OwnEntries, placed: list[Column], taken: Collection[str]) -> dict[str, Any]:
    """Add the user's columns to the others; return notes of arrays without a column, and of types."""
    fields = set().union(*(column.fields for column in placed), {"species"})
    hidden: dict[Any, Any] = {}
    types: dict[str, Any] = {}
    for name, given in entries.arrays.items():
        values = np.asarray(given)
        column = own_column(name, values)
        if column is None or name in taken or column.fields & fields:
            hidden[name] = values
            continue
        fields |= column.fields
        placed.append(column)
        if not says_all(column, values):
            types[column.name] = type_of(values)
    return {"arrays": encode(hidden), "types": types}


def _notes_word(atoms: Atoms, notes: Mapping[str, Any]) -> list[str]:
    held = {name: note for name, note in notes.items() if note}
    if {"arrays", "constraints"} & set(held):
        held["atoms"] = str(atoms.symbols)  # whose order they are in
    return [f"{ENTRIES}={json_value(held)}"] if held else []


def _constraints_beside(atoms: Atoms) -> str:
    """Constraints as JSON text, unless the column of those that may move says them all: fixed atoms, once."""
    told_by_mask = len(atoms.constraints) == 1 and isinstance(atoms.constraints[0], FixAtoms)
    return "" if told_by_mask or not atoms.constraints else constraints_text(atoms.constraints)
