"""Frames of alarms as extended XYZ: a frame is there as a whole or not at all."""

import logging
import os
from io import StringIO
from pathlib import Path

import numpy as np
from ase import Atoms

_logger = logging.getLogger("al_loop")


class SnapshotFile:
    """Appends frames to a file; one that cannot be written (full disk) is warned of and never stops a run.

    Args:
        path: the file; made with the first frame.

    Attributes:
        stored: number of frames written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.stored = 0

    def add(self, frame: Atoms) -> bool:
        """Append a frame and return whether it was stored; what was cut off by a full disk is taken away again."""
        text = _as_extxyz(frame).encode()
        try:
            _append(self._path, text)
        except OSError as error:
            _logger.warning(
                "a frame could not be stored in %s (%s); the run goes on: make room or mend the permissions",
                self._path,
                error.strerror or error,
            )
            return False
        self.stored += 1
        return True


def _append(path: Path, text: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        before = os.fstat(file.fileno()).st_size
        try:
            left = memoryview(text)
            while left:
                left = left[file.write(left) :]
        except OSError:
            file.truncate(before)
            raise


def _as_extxyz(frame: Atoms) -> str:
    from ase.io import write

    text = StringIO()
    write(text, _plain(frame), format="extxyz")
    return text.getvalue()


def _plain(frame: Atoms) -> Atoms:
    """A copy without what the format cannot hold: objects, lines, and what is called as a result of the calculator."""
    results = {} if frame.calc is None else frame.calc.results
    plain = frame.copy()
    plain.calc = frame.calc
    plain.info = {key: value for key, value in frame.info.items() if key not in results and _is_plain(key, value)}
    plain.arrays = {key: value for key, value in frame.arrays.items() if key not in results and _is_plain(key, value)}
    return plain


def _is_plain(key: object, value: object) -> bool:
    if not isinstance(key, str) or (isinstance(value, str) and not value.isprintable()):
        return False
    kind = value.dtype.kind if isinstance(value, np.ndarray) else "f"
    return kind in "biufUS" and isinstance(value, str | int | float | np.generic | np.ndarray)
