"""What a user's file says of a frame besides its structure and its labels: own entries of ``info`` and ``arrays``.

They travel beside the structure and decide nothing: no model and no engine sees them.
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
"""Key under which a frame in a file says where it comes from."""

ENTRIES: Final = "al_loop_entries"
"""Key of what the format of a file cannot express by itself: see ``al_loop.files.text.written_entries``."""

VISIT: Final = "al_loop_visit"
"""Key of what the gate said of a frame of a trajectory."""

OURS: Final = frozenset({PROVENANCE, ENTRIES, VISIT})

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
    """Return a frame's own entries: what is neither structure, charge or spin, nor a result, a label or al-loop's.

    Args:
        atoms: a structure in memory; for one that was read from a file see ``al_loop.files.text.written_entries``.
        labels: further names under which labels stand.
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
    """Tell whether an entry of this name holds a label, or a result of a calculation or of a model."""
    return key in _RESULTS or (isinstance(key, str) and key.startswith(_LABEL))


def check_entries(entries: OwnEntries, where: str) -> None:
    """Refuse what no file of al-loop can hold.

    Raises:
        InputError: naming the entry.
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
    """Split entries into what files can hold and the names of what they cannot."""
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
        TypeError: a value that files cannot hold; see ``check_entries``.
    """
    return json.dumps({"info": encode(dict(entries.info)), "arrays": encode(dict(entries.arrays))})


def entries_from_text(text: str) -> OwnEntries:
    """Invert ``entries_as_text``."""
    held = json.loads(text)
    return OwnEntries(decode(held["info"]), decode(held["arrays"]))


def _is_own(key: object, labels: Collection[str]) -> bool:
    return not is_result(key) and key not in labels and key not in OURS


def _simple(value: Any) -> Any:
    """A value without what readers of ASE wrap it in: numpy's scalars, and the space group of a CIF file."""
    from ase.spacegroup import Spacegroup  # loads scipy, and not every command reads files

    if isinstance(value, Spacegroup):
        return value.symbol
    return value.item() if isinstance(value, np.generic) and value.dtype.kind in "biufU" else value


def _what(error: Exception) -> str:
    return str(error) if isinstance(error, TypeError) else f"what JSON cannot hold ({str(error)[:80]})"
