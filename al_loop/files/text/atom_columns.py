"""Arrays of a frame's atoms as columns of extended XYZ, such that ASE's reader gives the array back."""

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from al_loop.files.text.header_values import numbers_text
from al_loop.frames.own_entries import OURS, is_result

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_OTHERS: Final = frozenset({"species", "symbols", "pos", "positions", "Z", "numbers", "charge", "move_mask"})
"""Columns that ASE's reader knows; it takes the column ``charge`` for the result ``charges``."""
_INT32: Final = 2**31  # ASE reads columns of integers as int32


@dataclass(frozen=True)
class Column:
    """One array of n atoms in a frame's text.

    Attributes:
        name: of the array.
        kind: R, I, L or S, as the format names real numbers, integers, truth values and words.
        width: number of values for each atom.
        rows: n texts.
    """

    name: str
    kind: str
    width: int
    rows: list[str]

    @property
    def fields(self) -> set[str]:
        """Names that ASE's reader gives the single values; those of two arrays must differ."""
        return {self.name} if self.width == 1 else {f"{self.name}{index}" for index in range(self.width)}


def column_of(name: str, values: NDArray[Any]) -> Column | None:
    """Return the column that holds an array (n, ...), row by row; None where the format cannot hold the array."""
    values = np.asarray(values)
    if values.ndim < 1 or values.size == 0:
        return None
    flat = values.reshape(len(values), -1)
    kind = _kind(flat)
    if kind is None:
        return None
    if kind in "RI":
        rows = [numbers_text(row) for row in flat.tolist()]
    elif kind == "L":
        rows = [" ".join("T" if one else "F" for one in row) for row in flat.tolist()]
    else:
        rows = [" ".join(row) for row in flat.tolist()]
    return Column(name, kind, flat.shape[1], rows)


def own_column(name: object, values: NDArray[Any]) -> Column | None:
    """As ``column_of``, None too where the name of a user's array means something else to a reader."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return None
    if name in _OTHERS or name in OURS or is_result(name):
        return None
    return column_of(name, values)


def type_of(values: NDArray[Any]) -> tuple[str, list[int]]:
    """Type and shape behind the first axis of an array, where its column alone does not say them."""
    values = np.asarray(values)
    return ("U" if values.dtype.kind == "O" else values.dtype.str), list(values.shape[1:])


def says_all(column: Column, values: NDArray[Any]) -> bool:
    """Tell whether ASE's reader gives an array of the same kind and shape from its column."""
    natural = values.shape[1:] == (() if column.width == 1 else (column.width,))
    return natural and values.dtype.kind != "u"


def retyped(values: NDArray[Any], kind: str, shape: list[int]) -> NDArray[Any]:
    """Give an array that was read the type and shape that it had; what has been edited since stays as it is."""
    try:
        return words_as_text(values).astype(kind).reshape(len(values), *shape)
    except (ValueError, TypeError, OverflowError):
        return values


def words_as_text(values: NDArray[Any]) -> NDArray[Any]:
    """Words, which ASE's reader gives as objects, as an array of text."""
    words = values.dtype.kind == "O" and all(isinstance(one, str) for one in values.ravel().tolist())
    return values.astype(str) if words else values


def _kind(flat: NDArray[Any]) -> str | None:
    kind = flat.dtype.kind
    if kind == "f":
        return "R" if flat.dtype.itemsize <= 8 else None  # noqa: PLR2004 - bytes of a float64
    if kind in "iu":
        return "I" if int(flat.min()) >= -_INT32 and int(flat.max()) < _INT32 else None
    if kind == "b":
        return "L"
    words = flat.ravel().tolist() if kind in "UO" else [""]
    return "S" if all(isinstance(word, str) and _is_word(word) for word in words) else None


def _is_word(text: str) -> bool:
    return text.isascii() and text.isprintable() and text.split() == [text]
