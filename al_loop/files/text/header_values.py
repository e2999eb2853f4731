"""Values in the second line of an extended XYZ frame: their text, such that ASE's reader gives the value back."""

import json
import re
from typing import Any, Final

import numpy as np
from ase.io.extxyz import key_val_str_to_dict

from al_loop.frames.own_entries import OURS, is_result
from al_loop.utils.plain_json import encode, same

_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_WORD: Final = re.compile(r"[A-Za-z0-9_.:/+-]+")
_NO_KEY: Final = frozenset({"Lattice", "Properties", "pbc"})
_UNREAD: Final = object()  # the same as no value


def is_plain_key(key: object) -> bool:
    """Tell whether a user's entry may stand in a header under this name, and means nothing else to a reader there."""
    return isinstance(key, str) and bool(_KEY.fullmatch(key)) and not (
        key in _NO_KEY or key in OURS or is_result(key)
    )  # fmt: skip


def header_value(key: str, value: Any) -> tuple[str | None, bool]:
    """Return the text behind ``key=``, and whether ASE's reader gives back just this value.

    Numbers and words stand as they are, everything else as JSON behind ``_JSON``, as ASE writes it. Some values have
    no such text: ASE's reader makes arrays of lists of numbers, numbers of text that looks like them, and fails on
    lists of unequal lists. Of those the nearest text is returned, None where ASE's reader would fail.
    """
    nearest = None
    for text in (_as_words(value), json_value(_without_types(value))):
        if text is None:
            continue
        found = read_value(key, text)
        if found is not _UNREAD:
            nearest = text
        if same(found, value):
            return text, True
    return nearest, False


def read_value(key: str, text: str) -> Any:
    """What ASE's reader makes of ``key=text``; something that equals no value where it fails."""
    try:
        return key_val_str_to_dict(f"{key}={text}").get(key, _UNREAD)
    except (ValueError, OverflowError, TypeError, RecursionError):
        return _UNREAD


def json_value(value: Any) -> str:
    """JSON as ASE's extended XYZ writes it; it escapes every line break and every letter outside ASCII."""
    text = json.dumps(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"_JSON {text}"'


def numbers_text(values: list[Any]) -> str:
    """Numbers with as many digits as tell them from every other float64."""
    return " ".join(map(repr, values))


def _as_words(value: Any) -> str | None:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        plain = value.isascii() and value.isprintable() and not {'"', "\\"} & set(value)
        return None if not plain else value if _WORD.fullmatch(value) else f'"{value}"'
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "if":
        return f'"{numbers_text(value.tolist())}"'
    return None


def _without_types(value: Any) -> Any:
    """The nearest value that JSON itself can hold: arrays and tuples become lists, keys become text."""
    if isinstance(value, np.ndarray | np.generic):
        return _without_types(value.tolist())
    if isinstance(value, list | tuple):
        return [_without_types(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _without_types(one) for key, one in value.items()}
    return encode(value)
