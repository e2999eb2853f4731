"""Write frames of alarms as extended XYZ; each is written completely or not at all."""

import logging
import os
from pathlib import Path

from al_loop.errors import InputError
from al_loop.files.predictions import StatedFrame

_logger = logging.getLogger("al_loop")


class SnapshotFile:
    """Appends frames to a file; a failure (full disk) is logged and never stops a run.

    Args:
        path: the file; made with the first frame.

    Attributes:
        stored: number of frames written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left_out: set[str] = set()
        self.stored = 0

    def add(self, frame: StatedFrame) -> bool:
        """Append a frame and return whether it was stored; an incomplete frame is removed again."""
        try:
            text, left_out = frame.text()
        except InputError as error:
            _logger.warning("a frame could not be stored in %s: %s; the run goes on", self._path, error)
            return False
        self._warn_once(left_out)
        try:
            _append(self._path, text.encode())
        except OSError as error:
            _logger.warning(
                "a frame could not be stored in %s (%s); the run goes on: free space or fix the permissions",
                self._path,
                error.strerror or error,
            )
            return False
        self.stored += 1
        return True

    def _warn_once(self, left_out: list[str]) -> None:
        new = [name for name in left_out if name not in self._left_out]
        self._left_out.update(new)
        if new:
            _logger.warning(
                "%s cannot hold %s of the structure; the frames are stored without", self._path, ", ".join(new)
            )


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
