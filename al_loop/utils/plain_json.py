"""Conversion of plain Python values and numpy arrays to JSON and back, with their types; reading executes no code.

JSON has no tuples, arrays or keys that are not text. These are written as an object with one tag, such as
``{"__array__": ["<i8", [3], [1, 2, 3]]}``. Scalars of numpy become plain numbers. Floats keep every bit.
"""

import json
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_ARRAY: Final = "__array__"
_DICT: Final = "__dict__"
_TUPLE: Final = "__tuple__"
_TAGS: Final = (_ARRAY, _DICT, _TUPLE)
_LONGEST_FLOAT: Final = 8  # bytes: JSON holds no more digits than a float64 has


def encode(value: Any) -> Any:
    """Convert a value for ``json.dumps``.

    Args:
        value: None, a truth value, an integer, a float, text, lists, tuples and dictionaries of those, numpy scalars,
            and arrays of truth values, integers, floats, text or (for ``dtype=object``) any of the others.

    Raises:
        TypeError: anything else (complex numbers, dates, bytes, sets, objects).
    """
    if isinstance(value, np.ndarray):
        return {_ARRAY: _encoded_array(value)}
    if isinstance(value, np.generic):
        value = _plain_scalar(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [encode(one) for one in value]
    if isinstance(value, tuple):
        return {_TUPLE: [encode(one) for one in value]}
    if not isinstance(value, dict):
        raise TypeError(f"a value of type {type(value).__name__}")
    if all(isinstance(key, str) for key in value) and not any(tag in value for tag in _TAGS):
        return {key: encode(one) for key, one in value.items()}
    return {_DICT: [[_encoded_key(key), encode(one)] for key, one in value.items()]}


def decode(data: Any) -> Any:
    """The inverse of ``encode``, for the result of ``json.loads``.

    Raises:
        ValueError, TypeError: a tag with invalid content.
    """
    if isinstance(data, list):
        return [decode(one) for one in data]
    if not isinstance(data, dict):
        return data
    if len(data) == 1 and next(iter(data)) in _TAGS:
        ((tag, held),) = data.items()
        if tag == _ARRAY:
            return _decoded_array(*held)
        if tag == _TUPLE:
            return tuple(decode(one) for one in held)
        return {decode(key): decode(one) for key, one in held}
    return {key: decode(one) for key, one in data.items()}


def same(one: Any, other: Any) -> bool:
    """Return whether two plain values are equal, with types and shapes; NaN equals NaN, -0.0 is not 0.0.

    The number of bits of an array's type is ignored, as is whether a scalar is numpy's.
    """
    try:
        return json.dumps(encode(_widened(one)), sort_keys=True) == json.dumps(encode(_widened(other)), sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return False


def _widened(value: Any) -> Any:
    """An array with the widest type of its kind; text becomes an array of objects without a fixed length."""
    if not isinstance(value, np.ndarray) or (value.dtype.kind == "f" and value.dtype.itemsize > _LONGEST_FLOAT):
        return value
    wide = {"i": np.int64, "u": np.uint64, "f": np.float64, "U": object}.get(value.dtype.kind)
    return value if wide is None else value.astype(wide)


def _plain_scalar(value: np.generic) -> Any:
    if value.dtype.kind not in "biufU" or (value.dtype.kind == "f" and value.dtype.itemsize > _LONGEST_FLOAT):
        raise TypeError(f"a value of type {type(value).__name__}")
    return value.item()


def _encoded_key(key: Any) -> Any:
    if key is None or isinstance(key, bool | int | float | str | np.generic):
        return encode(key)
    raise TypeError(f"a dictionary with a key of type {type(key).__name__}")


def _encoded_array(values: NDArray[Any]) -> list[Any]:
    kind = values.dtype.kind
    if kind == "O":
        return ["O", list(values.shape), [encode(one) for one in values.ravel().tolist()]]
    if kind not in "biufU" or (kind == "f" and values.dtype.itemsize > _LONGEST_FLOAT):
        raise TypeError(f"an array of type {values.dtype}")
    return [values.dtype.str, list(values.shape), values.ravel().tolist()]


def _decoded_array(kind: str, shape: list[int], flat: list[Any]) -> NDArray[Any]:
    if kind == "O":
        held = np.empty(len(flat), dtype=object)
        for index, one in enumerate(flat):  # assigning a slice would broadcast lists
            held[index] = decode(one)
        return held.reshape(shape)
    if np.dtype(kind).kind not in "biufU":
        raise ValueError(f"an array of type {kind}, expected numbers, truth values or text")
    return np.array(flat, dtype=kind).reshape(shape)
