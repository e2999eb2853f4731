"""Prepared documents in a temporary file, so that only few of them are in memory."""

import struct
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from al_loop.errors import InputError
from al_loop.ledger.prepared import Prepared, decoded, encoded

_LENGTH: Final = struct.Struct("<Q")


class Spool:
    """An unnamed file, which disappears with the process; a context manager."""

    def __init__(self) -> None:
        """Create the file.

        Raises:
            InputError: no room for it.
        """
        try:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - the context is that of this object
        except OSError as error:
            raise _no_room(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # its content is not needed any more
            self._file.close()

    def append(self, item: Prepared) -> None:
        """Append an item.

        Raises:
            InputError: a text that is too long, or no room for the file.
            Exception: any error of BSON for values that it does not support.
        """
        data = encoded(item)
        try:
            self._file.write(_LENGTH.pack(len(data)))
            self._file.write(data)
        except OSError as error:
            raise _no_room(error) from error

    def rewind(self) -> None:
        """Flush the file and seek to its beginning.

        Raises:
            InputError: no room for the file.
        """
        try:
            self._file.seek(0)
        except OSError as error:
            raise _no_room(error) from error

    def __iter__(self) -> Iterator[Prepared]:
        """Yield the items in the order in which they were appended."""
        self.rewind()
        while length := self._file.read(_LENGTH.size):
            yield decoded(self._file.read(_LENGTH.unpack(length)[0]))


def _no_room(error: OSError) -> InputError:
    return InputError(
        f"the prepared frames could not be written to the folder for temporary files ({error.strerror}); set TMPDIR to "
        "a folder with room"
    )
