"""Bytes that may be too large for a document: stored inline if they fit, otherwise in GridFS."""

from collections.abc import Mapping
from typing import Any, Final

from gridfs import GridFS

from al_loop.ledger.codec import INLINE_BYTES

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
