"""Own entries of a user's file in ``info`` and ``arrays`` of a frame, in addition to structure and labels.

They are stored with the structure and have no effect: no model and no engine receives them.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from numpy.typing import NDArray

from al_loop.errors import InputError
from al_loop.frames.plain_atoms import KEPT
from al_loop.utils.plain_json import decode, encode
from committee import names

PROVENANCE: Final = "al_loop"
"""Key of the provenance of a frame in a file."""

ENTRIES: Final = "al_loop_entries"
"""Key of entries that the format of a file cannot express: see ``al_loop.files.text.written_entries``."""

OURS: Final = frozenset({PROVENANCE, ENTRIES})

STRUCTURE_ARRAYS: Final = frozenset({"numbers", "positions", "initial_magmoms", "masses"})
"""Arrays of ``Atoms`` that belong to the structure (see ``al_loop.frames.plain_atoms.plain_atoms``)."""

_LABEL: Final = "REF_"
_RESULTS: Final = frozenset({*all_properties, *names.RESULTS, "virial", "virials"})


@dataclass(frozen=True)
class OwnEntries:
    """A user's own entries of one frame.

    Attributes:
        info: of the frame, by name.
        arrays: of its n atoms, each (n, ...), by name.
    """

    info: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.info) or bool(self.arrays)


NO_ENTRIES: Final = OwnEntries()


def entries_of(atoms: Atoms, labels: Collection[str] = ()) -> OwnEntries:
    """Return a frame's own entries: all except structure, charge, spin, results, labels and al-loop's entries.

    Args:
        atoms: a structure in memory; for one read from a file see ``al_loop.files.text.written_entries``.
        labels: further names of labels.
    """
    return OwnEntries(
        {key: _simple(value) for key, value in atoms.info.items() if _is_own(key, labels) and key not in KEPT},
        {
            name: values
            for name, values in atoms.arrays.items()
            if _is_own(name, labels) and name not in STRUCTURE_ARRAYS
        },
    )


def is_result(key: object) -> bool:
    """Return whether an entry of this name holds a label, or a result of a calculation or of a model."""
    return key in _RESULTS or (isinstance(key, str) and key.startswith(_LABEL))


def check_entries(entries: OwnEntries, where: str) -> None:
    """Check that al-loop's files can store the entries.

    Raises:
        InputError: they cannot; the message names the entry.
    """
    for place, held in (("info", entries.info), ("arrays", entries.arrays)):
        for key, value in held.items():
            try:
                json.dumps(encode({key: value}))
            except (TypeError, ValueError, RecursionError) as error:
                raise InputError(
                    f"{where}: atoms.{place}[{key!r}] is or holds {_what(error)}, expected numbers, truth values, "
                    "text, None, or lists, dictionaries and arrays of them; convert it, or remove it from the file"
                ) from error


def storable(entries: OwnEntries) -> tuple[OwnEntries, list[str]]:
    """Split entries into those that files can store and the names of the others."""
    left_out: list[str] = []
    parts: list[dict[str, Any]] = []
    for place in ("info", "arrays"):
        kept: dict[str, Any] = {}
        for key, value in getattr(entries, place).items():
            try:
                check_entries(OwnEntries({key: value}), "")
                kept[key] = value
            except InputError:
                left_out.append(f"{place}[{key!r}]")
        parts.append(kept)
    return OwnEntries(*parts), left_out


def entries_as_text(entries: OwnEntries) -> str:
    """Own entries as JSON text in ASCII.

    Raises:
        TypeError: a value that files cannot store; see ``check_entries``.
    """
    return json.dumps({"info": encode(dict(entries.info)), "arrays": encode(dict(entries.arrays))})


def entries_from_text(text: str) -> OwnEntries:
    """The inverse of ``entries_as_text``."""
    held = json.loads(text)
    return OwnEntries(decode(held["info"]), decode(held["arrays"]))


def _is_own(key: object, labels: Collection[str]) -> bool:
    return not is_result(key) and key not in labels and key not in OURS


def _simple(value: Any) -> Any:
    """A plain value for numpy's scalars and the space group of a CIF file, which ASE's readers return."""
    from ase.spacegroup import Spacegroup  # loads scipy, and not every command reads files

    if isinstance(value, Spacegroup):
        return value.symbol
    return value.item() if isinstance(value, np.generic) and value.dtype.kind in "biufU" else value


def _what(error: Exception) -> str:
    return str(error) if isinstance(error, TypeError) else f"not valid in JSON ({str(error)[:80]})"
