"""``python -I lmdb_rows.py FILE``: the rows of an aselmdb file as JSON, each behind its length (8 bytes).

It runs as a separate process: LMDB maps the file into memory, and a damaged file can crash the process that reads it.
The rows are compressed JSON; anything else, or more than ``LARGEST``, is an error, and nothing is executed.
"""

import json
import struct
import sys
import zlib
from collections.abc import Iterator
from typing import Any

import lmdb

LARGEST = 256 * 2**20  # bytes of one row


def rows(path: str) -> Iterator[bytes]:
    """Yield the JSON of each row, in the order of their ids.

    Raises:
        lmdb.Error, ValueError, zlib.error: not an aselmdb file.
    """
    with lmdb.open(path, subdir=False, readonly=True, lock=False) as environment, environment.begin() as transaction:
        entries = environment.stat()["entries"]
        following = _plain(transaction, b"nextid", 1)
        deleted = set(_plain(transaction, b"deleted_ids", []))
        if not isinstance(following, int) or not 1 <= following <= entries + len(deleted) + 1:
            raise ValueError(f"it says that its next row is {following!r}, and holds {entries} entries")
        for number in range(1, following):
            if number in deleted:
                continue
            stored = transaction.get(str(number).encode())
            if stored is None:
                raise ValueError(f"row {number} is missing")
            yield _text(stored)


def _plain(transaction: Any, key: bytes, default: object) -> Any:
    stored = transaction.get(key)
    return default if stored is None else json.loads(_text(stored))


def _text(stored: bytes) -> bytes:
    inflater = zlib.decompressobj()
    text = inflater.decompress(stored, LARGEST)
    if not inflater.eof:
        raise ValueError(f"a row that is cut off, or larger than {LARGEST / 2**20:.0f} MB")
    return text


def main() -> None:
    """Write the rows, or the error, which begins with an exclamation mark."""
    out = sys.stdout.buffer
    try:
        for text in rows(sys.argv[1]):
            out.write(struct.pack("<Q", len(text)) + text)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the file is for the reader to say
        reason = f"!{type(error).__name__}: {error}".encode()
        out.write(struct.pack("<Q", len(reason)) + reason)


if __name__ == "__main__":
    main()
