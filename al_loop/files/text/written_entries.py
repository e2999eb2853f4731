"""A user's own entries and constraints back from a frame of a file, al-loop's own files among them."""

import json
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.errors import InputError
from al_loop.files.text.atom_columns import retyped, words_as_text
from al_loop.files.text.extxyz_text import move_mask
from al_loop.files.text.header_values import header_value, read_value
from al_loop.frames.own_entries import ENTRIES, OwnEntries, entries_of
from al_loop.frames.plain_atoms import constraints_from_text
from al_loop.utils.foreign_input import reading
from al_loop.utils.plain_json import decode, same


def read_entries(atoms: Atoms, where: str, labels: Collection[str] = ()) -> OwnEntries:
    """Return the user's own entries of a frame as ASE's reader gave it, with the types that al-loop noted.

    What was edited after al-loop had written the file counts as it stands there now.

    Args:
        atoms: as it was read.
        where: file and number of the frame, for messages.
        labels: names under which labels stand, besides those that al-loop knows.

    Raises:
        InputError: what should be al-loop's own notes is something else.
    """
    beside = _beside(atoms, where)
    if "arrays" in beside:
        _check_order(atoms, beside, where, "arrays")
    found = entries_of(atoms, labels)
    with _ours(where):
        info, hidden, arrays = (dict(decode(beside.get(part, {}))) for part in ("info", "hidden", "arrays"))
        written = set(beside.get("written", ()))
        own = {key: value for key, value in found.info.items() if key not in written}
        columns = {name: words_as_text(held) for name, held in found.arrays.items() if name not in written}
        for name, (kind, shape) in dict(beside.get("types", {})).items():
            if name in columns:
                columns[name] = retyped(columns[name], kind, shape)
        own.update({key: value for key, value in info.items() if key in own and _is_as_written(key, own[key], value)})
        own.update(hidden)
        columns.update(arrays)
    return OwnEntries(own, columns)


def restore_constraints(atoms: Atoms, where: str) -> None:
    """Give a frame that was read the constraints that its columns do not say, in place.

    Where the column ``move_mask`` was edited since, it counts.

    Raises:
        InputError: what should be constraints is something else.
    """
    beside = _beside(atoms, where)
    text = beside.get("constraints")
    if text is None:
        return
    _check_order(atoms, beside, where, "constraints")
    with _ours(where):
        constraints = constraints_from_text(text)
        mask = _by_component(move_mask(atoms, constraints))
        if (mask == _by_component(move_mask(atoms, atoms.constraints))).all():
            atoms.set_constraint(constraints)


def _by_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n, 3) of (n,) or (n, 3)."""
    return mask if mask.ndim > 1 else np.repeat(mask[:, None], 3, axis=1)


def _check_order(atoms: Atoms, beside: Mapping[str, Any], where: str, what: str) -> None:
    if beside.get("atoms") != str(atoms.symbols):
        raise InputError(
            f"{where}: its atoms are {atoms.symbols}, but {ENTRIES} holds {what} of {beside.get('atoms')}; the atoms "
            f"were removed or reordered after al-loop wrote them. Remove the entry {ENTRIES}, or use the file "
            "as al-loop wrote it"
        )


def _beside(atoms: Atoms, where: str) -> Mapping[str, Any]:
    held = atoms.info.get(ENTRIES, {})
    with _ours(where):
        held = json.loads(held) if isinstance(held, str) else held
        if not isinstance(held, dict):
            raise TypeError(f"a {type(held).__name__}")
    return held


def _is_as_written(key: str, found: Any, value: Any) -> bool:
    text, _ = header_value(key, value)
    return text is not None and same(found, read_value(key, text))


def _ours(where: str) -> AbstractContextManager[None]:
    return reading(f"{where}: {ENTRIES}", "expected what al-loop itself writes there; remove that entry")
