"""Bytes that may be too large for a document: inline where they fit, in GridFS where they do not."""

from collections.abc import Mapping
from typing import Any, Final

from gridfs import GridFS

from al_loop.ledger.codec import INLINE_BYTES

BUCKET: Final = "arrays"
_FILE: Final = "_file"  # ends the name of the field that points to GridFS


def bucket(database: Any) -> GridFS:
    """Where large bytes of a database lie."""
    return GridFS(database, BUCKET)


def put_blob(files: GridFS, field: str, data: bytes | None) -> dict[str, Any]:
    """Store bytes; returns the one field of the document that holds them or points to them, none for None.

    The file is there before the document that names it, so that no reader finds a document without its bytes.
    """
    if data is None:
        return {}
    if len(data) <= INLINE_BYTES:
        return {field: data}
    return {field + _FILE: files.put(data, filename=field)}


def put_blobs(files: GridFS, blobs: Mapping[str, bytes]) -> dict[str, Any]:
    """As ``put_blob``, of several fields of one document."""
    return {name: held for field, data in blobs.items() for name, held in put_blob(files, field, data).items()}


def get_blob(files: GridFS, stored: Mapping[str, Any], field: str) -> bytes | None:
    """The bytes of a field of a stored document, wherever they are; None if it has none."""
    inline = stored.get(field)
    if inline is not None:
        return bytes(inline)
    file = stored.get(field + _FILE)
    return None if file is None else bytes(files.get(file).read())


def drop_blobs(files: GridFS, stored: Mapping[str, Any]) -> None:
    """Delete the files of a document that is not or no longer stored."""
    for name, file in stored.items():
        if name.endswith(_FILE) and file is not None:
            files.delete(file)
