"""Text files, compressed or not, as they are opened for reading."""

from pathlib import Path
from typing import IO, Final

from ase.io.formats import open_with_compression

from al_loop.utils.paths import printable

COMPRESSED: Final = (".gz", ".bz2", ".xz")


def plain_name(path: Path) -> str:
    """Return the name of a file without the ending of its compression, such that a ledger or a file can hold it."""
    return printable(path.name.removesuffix(path.suffix) if path.suffix in COMPRESSED else path.name)


def open_text(path: Path, *, strict: bool = False) -> IO[str]:
    """Open a text file, without the byte order mark that some editors write.

    What is not UTF-8 becomes a replacement character, or an error if ``strict``.
    """
    if path.suffix not in COMPRESSED:
        return path.open(encoding="utf-8-sig", errors="strict" if strict else "replace")
    import io

    errors = "strict" if strict else "replace"
    return io.TextIOWrapper(open_with_compression(str(path), "rb"), encoding="utf-8-sig", errors=errors)


def read_text(path: Path) -> str:
    """Return the whole text of a file; see ``open_text``."""
    with open_text(path) as file:
        return file.read()


def first_bytes(path: Path, size: int) -> bytes:
    """Return the beginning of a file, decompressed."""
    if path.suffix not in COMPRESSED:
        with path.open("rb") as file:
            return file.read(size)
    with open_with_compression(str(path), "rb") as file:
        return bytes(file.read(size))
