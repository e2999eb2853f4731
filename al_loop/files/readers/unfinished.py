"""Files that grow while they are read, and files that a killed run or a full disk has cut."""

import io
from collections.abc import Iterator, Sequence
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


def check_last_row(last: str, others: Sequence[str]) -> None:
    """Refuse a last row that a killed run or a full disk has cut.

    Raises:
        ValueError: fewer words than the others; or no line end, and fewer decimals in the last number than the others'
            numbers of that column leave room for.
    """
    words, before = last.split(), [row.split() for row in others]
    if before and len(words) < min(map(len, before)):
        raise ValueError(f"it is cut off: its last row has {len(words)} columns, and the others {len(before[0])}")
    if not words or last[-1:].isspace():
        return
    place = len(words) - 1
    decimals = [_decimals(row[place]) for row in before if len(row) > place]
    if decimals and _decimals(words[-1]) < 2 * min(decimals) - max(decimals):
        raise ValueError(
            f"it seems cut off: its last number is {words[-1]}, without a line end and shorter than the others of its "
            "column; if it is complete, add a line end"
        )


def _decimals(word: str) -> int:
    return len(word.partition(".")[2])
