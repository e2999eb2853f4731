"""Write the committee's predictions of a frame to a file, under the field's usual keys."""

from dataclasses import dataclass, field
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
