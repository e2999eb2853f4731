"""Files that grow while they are read, such as one of snapshots that the reader's own alarms are appended to."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO


@contextmanager
def opened_as_it_is(path: Path) -> Iterator[TextIO]:
    """Open a text for reading, compressed or not, up to where it ends now."""
    from ase.io.formats import get_compression, open_with_compression

    if get_compression(str(path))[1] is not None:
        with open_with_compression(str(path), "r") as file:
            yield file
        return
    with (
        path.open("rb") as raw,
        io.TextIOWrapper(io.BufferedReader(_Bounded(raw, path.stat().st_size)), encoding="utf-8-sig") as file,
    ):
        yield file


class _Bounded(io.RawIOBase):
    """The first so many bytes of a file."""

    def __init__(self, raw: BinaryIO, size: int) -> None:
        super().__init__()
        self._raw = raw
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._raw.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)
