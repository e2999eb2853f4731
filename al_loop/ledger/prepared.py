"""Documents of labelled frames and suspects, built and encoded completely before the first of them is stored."""

import struct
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Final, Self

import bson
import numpy as np
from numpy.typing import NDArray

from al_loop.errors import InputError
from al_loop.frames.codec import unpack_atoms
from al_loop.ledger.codec import pack_floats, pack_indices, unpack_floats, unpack_indices
from al_loop.utils.content_hash import matching_order

FORCES: Final = "forces_eV_per_A"
MOMENTS: Final = "magnetic_moments_uB"
STRESS: Final = "stress_eV_per_A3"

BLOCK: Final = 500
BLOCK_BYTES: Final = 2**24
_TEXT_BYTES: Final = 2**21  # of all documents of a frame together, without its arrays


@dataclass
class Prepared:
    """The documents of one frame; exactly one of ``label`` and ``visit`` is set.

    Attributes:
        frame: document of the structure.
        frame_blobs: arrays of that document.
        where: file and frame, for messages.
        label: document of its label.
        label_blobs: arrays of that document.
        request: the request that the label fulfils, as stored if there is none yet.
        visit: document of a suspect.
    """

    frame: dict[str, Any]
    frame_blobs: dict[str, bytes]
    where: str = ""
    label: dict[str, Any] | None = None
    label_blobs: dict[str, bytes] = field(default_factory=dict)
    request: dict[str, Any] | None = None
    visit: dict[str, Any] | None = None

    @property
    def frame_id(self) -> str:
        """Content hash of the structure."""
        return str(self.frame["_id"])

    @property
    def size(self) -> int:
        """Bytes of its arrays."""
        return sum(map(len, (*self.frame_blobs.values(), *self.label_blobs.values())))


def encoded(item: Prepared) -> bytes:
    """Return an item as BSON that the database accepts.

    Raises:
        InputError: a text that is too long for the documents of one frame.
        Exception: any error of BSON for values that it does not support.
    """
    # The name of a file may hold any bytes, and is not stored.
    data = bson.encode({**vars(item), "where": item.where.encode(errors="surrogateescape")})
    text = len(data) - item.size
    if text > _TEXT_BYTES:
        raise InputError(
            f"{item.where or 'a frame'}: its names and remarks take {text / 2**20:.1f} MB, expected at most "
            f"{_TEXT_BYTES // 2**20} MB; shorten them"
        )
    return data


def decoded(data: bytes) -> Prepared:
    """The inverse of ``encoded``."""
    held = bson.decode(data)
    return Prepared(**{**held, "where": held["where"].decode(errors="surrogateescape")})


def blocks(items: Iterable[Prepared]) -> Iterator[list[Prepared]]:
    """Yield lists of items that are in memory together while they are stored."""
    block: list[Prepared] = []
    size = 0
    for item in items:
        block.append(item)
        size += item.size
        if len(block) == BLOCK or size >= BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def with_stress(item: Prepared, stress_eV_per_A3: NDArray[np.float64] | None) -> Prepared:
    """Return a labelled frame with another stress (6,), or without stress."""
    others = {name: data for name, data in item.label_blobs.items() if name != STRESS}
    stress = {} if stress_eV_per_A3 is None else {STRESS: pack_floats(stress_eV_per_A3)}
    return replace(item, label_blobs={**others, **stress})


def in_stored_order(item: Prepared, stored: Mapping[str, bytes]) -> Prepared:
    """Return an item with all data of the atoms in the stored order of atoms."""
    if stored["atoms"] == item.frame_blobs["atoms"]:
        return item
    order = matching_order(unpack_atoms(item.frame_blobs["atoms"]), unpack_atoms(stored["atoms"]))
    blobs = dict(item.label_blobs)
    for name, shape in ((FORCES, (-1, 3)), (MOMENTS, (-1,))):
        if name in blobs:
            blobs[name] = pack_floats(unpack_floats(blobs[name], *shape)[order])
    visit = item.visit
    if visit is not None and visit.get("atom_indices"):
        place = np.argsort(order)
        visit = {**visit, "atom_indices": pack_indices(place[list(unpack_indices(visit["atom_indices"]))].tolist())}
    return replace(item, label_blobs=blobs, visit=visit)


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
