"""Labels of other levels of theory that join a training set: ``align.other_labels``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from al_loop.config.settings import OtherLabelsSettings
from al_loop.errors import InputError
from al_loop.files.labelled import read_labelled
from al_loop.files.labels.isolated_atoms import atom_energies
from al_loop.files.labels.names import given_keys
from al_loop.files.labels.sorting import sorted_out
from al_loop.records import Frame
from al_loop.stages.train.atom_shifts import isolated_atom_shifts, known_atoms
from al_loop.stages.train.training_frame import training_frame
from al_loop.utils.content_hash import content_id
from committee.backbones.contract import Backbone
from committee.errors import StructureError
from committee.structures import check_structures
from committee.training.training_frame import TrainingFrame


@dataclass(frozen=True)
class OtherLabels:
    """Frames at other levels of theory than the campaign's.

    Attributes:
        frames: each with its level; a frame's group is itself.
        where: id of a frame -> its file and index, for messages.
        prior_shifts_eV: level -> atomic number -> reference shift, from isolated atoms in its files.
        notes: sentences with the level on merged, excluded or separated frames.
    """

    frames: list[TrainingFrame]
    where: Mapping[str, str]
    prior_shifts_eV: Mapping[str, Mapping[int, float]]
    notes: tuple[str, ...]


def read_other_labels(settings: Sequence[OtherLabelsSettings], backbone: Backbone) -> OtherLabels:
    """Read the labels of other levels; all files of one level form one set.

    Raises:
        InputError: a file cannot be read or holds no labels, labels of one level contradict each other, or the
            foundation does not support a structure.
    """
    frames: list[TrainingFrame] = []
    where: dict[str, str] = {}
    priors: dict[str, Mapping[int, float]] = {}
    notes: list[str] = []
    for level in dict.fromkeys(entry.level for entry in settings):
        read: list[Frame] = []
        for entry in settings:
            if entry.level == level:
                found = read_labelled(entry.paths, given_keys(entry.energy_key, entry.forces_key, entry.stress_key))
                read += [*found.frames, *found.isolated_atoms]
                notes += [f"{level}: {note}" for note in found.notes]
        together = sorted_out(read)
        notes += [f"{level}: {note}" for note in together.notes if f"{level}: {note}" not in notes]
        for labelled in together.frames:
            frame = _other_frame(level, labelled, backbone)
            frames.append(frame)
            where[frame.id] = f"align.other_labels: {labelled.where}"
        energies = known_atoms(atom_energies(together.isolated_atoms).energies_eV, backbone)
        priors[level] = isolated_atom_shifts(energies, backbone)
    return OtherLabels(frames, where, priors, tuple(notes))


def _other_frame(level: str, labelled: Frame, backbone: Backbone) -> TrainingFrame:
    try:
        check_structures([labelled.atoms], backbone.elements)
    except StructureError as error:
        raise InputError(f"align.other_labels: {labelled.where} {error.reason}") from error
    return training_frame(labelled, f"other-{content_id(level, labelled.frame_id)}", level)
