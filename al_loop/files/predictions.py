"""Write the committee's predictions of a frame to a file, under the field's usual keys, and the frames of alarms."""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms
from numpy.typing import NDArray

from al_loop.errors import InputError
from al_loop.files.text.extxyz_text import frame_text
from al_loop.files.text.written_entries import read_entries
from al_loop.frames.own_entries import ENTRIES, OwnEntries, entries_of, storable
from committee import names
from committee.prediction import Prediction


@dataclass
class StatedFrame:
    """A frame with al-loop's predictions.

    Attributes:
        atoms: the structure; own entries of its ``info`` and ``arrays`` are written beside what is stated.
        info: of the frame.
        arrays: of its n atoms, each (n, ...).
    """

    atoms: Atoms
    info: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    def add_prediction(self, prediction: Prediction) -> None:
        """State energy and forces, uncertainties and latent distances, as far as the prediction has them."""
        self.info[names.ENERGY] = prediction.energy
        self.arrays[names.FORCES] = prediction.forces
        self.info[names.ENERGY_UNCERTAINTY] = prediction.energy_uncertainty
        if prediction.forces_uncertainty is not None:
            self.arrays[names.FORCES_UNCERTAINTY] = prediction.forces_uncertainty
        if prediction.latent_distance is not None:
            self.arrays[names.LATENT_DISTANCE] = prediction.latent_distance

    def text(self) -> tuple[str, list[str]]:
        """Return the frame as extended XYZ, and the names of entries that the format cannot hold, which are left out.

        Raises:
            InputError: entries that are too many for a file.
        """
        entries, left_out = _own(self.atoms)
        return frame_text(self.atoms, self.info, self.arrays, entries), left_out


def _own(atoms: Atoms) -> tuple[OwnEntries, list[str]]:
    try:
        entries, unread = read_entries(atoms, "a frame"), []
    except InputError:  # what al-loop once wrote, and what no longer fits the atoms
        entries, unread = entries_of(atoms), [f"info[{ENTRIES!r}]"]
    kept, left_out = storable(entries)
    return kept, unread + left_out


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
