"""Fields of the ledger's documents as bytes and JSON of bounded size, larger ones in GridFS, and their reading."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np
from gridfs import GridFS
from numpy.typing import NDArray
from pymongo.errors import ConnectionFailure, CursorNotFound, OperationFailure

from al_loop.errors import CampaignError, InputError
from committee import foreign

INLINE_BYTES: Final = 4 * 2**20  # of one field; a document may hold 16 MB and has at most three such fields


def pack_floats(values: NDArray[np.float64]) -> bytes:
    """Float64 values, little-endian, row by row."""
    return np.ascontiguousarray(values, dtype="<f8").tobytes()


def unpack_floats(data: bytes, *shape: int) -> NDArray[np.float64]:
    """The inverse of ``pack_floats``, writable."""
    return np.frombuffer(data, dtype="<f8").reshape(shape).astype(np.float64)


def pack_indices(values: Sequence[int]) -> bytes:
    """Indices of atoms as int32, little-endian, since a BSON list takes 12 bytes for each.

    Raises:
        CampaignError: the bytes exceed the limit of one document.
    """
    return bounded(np.asarray(values, dtype="<i4").tobytes(), f"{len(values)} indices of atoms")


def unpack_indices(data: bytes) -> tuple[int, ...]:
    """The inverse of ``pack_indices``."""
    return tuple(np.frombuffer(data, dtype="<i4").tolist())


def pack_descriptor(values: NDArray[np.float32]) -> bytes:
    """One vector as float32, little-endian: half the size of ``pack_floats``, with the precision of the features.

    Raises:
        CampaignError: the bytes exceed the limit of one document.
    """
    return bounded(np.ascontiguousarray(values, dtype="<f4").tobytes(), f"a descriptor of shape {np.shape(values)}")


def unpack_descriptor(data: bytes) -> NDArray[np.float32]:
    """The inverse of ``pack_descriptor``, writable."""
    return np.frombuffer(data, dtype="<f4").astype(np.float32)


def pack_json(values: Mapping[str, Any], limit: int = INLINE_BYTES) -> str:
    """JSON text (NaN and infinities as Python writes them); tuples become lists, numpy scalars plain numbers.

    JSON rather than a nested document, because keys may contain dots and dollars (names of files and systems).

    Args:
        values: JSON values.
        limit: maximum number of bytes.

    Raises:
        TypeError: a value that JSON does not support.
        CampaignError: the bytes exceed the limit of one document.
    """
    text = json.dumps(values, default=_plain)
    bounded(text.encode(), f"the JSON of {', '.join(map(str, list(values)[:3]))}", limit)
    return text


def unpack_json(text: str) -> dict[str, Any]:
    """The inverse of ``pack_json``."""
    values: dict[str, Any] = json.loads(text)
    return values


def bounded(data: bytes, what: str, limit: int = INLINE_BYTES) -> bytes:
    """Return the data if it fits into one document.

    Raises:
        CampaignError: it does not.
    """
    if len(data) > limit:
        raise CampaignError(
            f"The ledger received {what}: {len(data) / 2**20:.1f} MB, and one entry holds "
            f"{limit / 2**20:.0f} MB. Store large arrays with put_arrays."
        )
    return data


def _plain(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"the ledger stores JSON, received {type(value).__name__}: {value!r}")


T = TypeVar("T")

_PASSING: Final = (CampaignError, ConnectionFailure, CursorNotFound, OperationFailure)  # of the server, not of the row


def from_row(collection: str, key: object, make: Callable[[], T]) -> T:
    """Return the result of ``make`` for a stored document.

    Raises:
        InputError: the document cannot be converted.
    """
    what = f"The document {key!r} in the collection {collection} of the ledger"
    remedy = "restore the database from a backup, or delete the document if another program wrote it"
    with foreign.reading(what, remedy, InputError, _PASSING):
        return make()


BUCKET: Final = "arrays"
_FILE: Final = "_file"  # suffix of the name of a field that refers to GridFS


def bucket(database: Any) -> GridFS:
    """The GridFS of a database."""
    return GridFS(database, BUCKET)


def put_blob(files: GridFS, field: str, data: bytes | None) -> dict[str, Any]:
    """Store bytes; returns the field of the document that holds or refers to them, an empty dictionary for None.

    The file is written before the document that refers to it, so that no reader finds a document without its bytes.
    """
    if data is None:
        return {}
    if len(data) <= INLINE_BYTES:
        return {field: data}
    return {field + _FILE: files.put(data, filename=field)}


def put_blobs(files: GridFS, blobs: Mapping[str, bytes]) -> dict[str, Any]:
    """``put_blob`` for several fields of one document."""
    return {name: held for field, data in blobs.items() for name, held in put_blob(files, field, data).items()}


def get_blob(files: GridFS, stored: Mapping[str, Any], field: str) -> bytes | None:
    """The bytes of a field of a stored document, inline or in GridFS; None if it has none."""
    inline = stored.get(field)
    if inline is not None:
        return bytes(inline)
    file = stored.get(field + _FILE)
    return None if file is None else bytes(files.get(file).read())


def drop_blobs(files: GridFS, stored: Mapping[str, Any]) -> None:
    """Delete the files of a document that is not stored, or no longer."""
    for name, file in stored.items():
        if name.endswith(_FILE) and file is not None:
            files.delete(file)
