"""Labelled frames and their validation."""

import hashlib
import re
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from committee.errors import StructureError, TrainingDataError
from committee.model.reference_shifts import ReferenceShifts
from committee.model.tangents import structure_hash
from committee.structures import check_structures

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TrainingFrame:
    """A labelled frame of n atoms.

    Attributes:
        id: the name of the frame's file in the cache of tangents.
        atoms: the structure.
        energy_eV: total energy from the labelling code; NaN if there is none.
        forces_eV_per_A: (n, 3), or None.
        stress_eV_per_A3: (6,) in ASE's order, or None.
        group: name shared by frames that are not independent, for example that of their trajectory.
        level_of_theory: level of theory of the label; empty if it is not stated.
        aligned: the energy is on the foundation's zero: its level's own reference shifts were subtracted
            (``committee.training.aligned_levels``). Such frames may be of another level than the rest.
    """

    id: str
    atoms: Atoms
    energy_eV: float
    forces_eV_per_A: Array | None = None
    stress_eV_per_A3: Array | None = None
    group: str = ""
    level_of_theory: str = ""
    aligned: bool = False

    @property
    def has_label(self) -> bool:
        """Whether the frame has an energy, forces or a stress."""
        return not np.isnan(self.energy_eV) or not (self.forces_eV_per_A is None and self.stress_eV_per_A3 is None)

    @property
    def independent_group(self) -> str:
        """The group, or the frame's id if no group is given."""
        return self.group or self.id

    def energy_above(self, shifts: ReferenceShifts) -> float:
        """Return the energy on the foundation's zero, eV; ``shifts`` are those of the training set's main level."""
        return self.energy_eV if self.aligned else self.energy_eV - shifts.total_eV(self.atoms.numbers)


def label_hash(frame: TrainingFrame) -> str:
    """Return the SHA-256 of a structure and its labels."""
    digest = hashlib.sha256(structure_hash(frame.atoms).encode())
    for label in (frame.energy_eV, frame.forces_eV_per_A, frame.stress_eV_per_A3):
        digest.update(b"none" if label is None else np.asarray(label, dtype="<f8").tobytes())
    return digest.hexdigest()


def training_hash(frames: Sequence[TrainingFrame]) -> str:
    """Return the SHA-256 of structures and labels, independent of their order."""
    return hashlib.sha256("".join(sorted(map(label_hash, frames))).encode()).hexdigest()


def check_frames(frames: Sequence[TrainingFrame], elements: Set[int]) -> None:
    """Validate a training set before anything is computed or written.

    Raises:
        TrainingDataError: no frames, ids that repeat or cannot name a file, a frame without any label, labels that are
            not finite or do not match their structure, labels of several levels of theory that were not aligned.
        StructureError: a structure is invalid; the message names the frame by its id.
    """
    if not frames:
        raise TrainingDataError("Training needs at least one labelled frame, received none.")
    if len({frame.id for frame in frames}) != len(frames):
        raise TrainingDataError("Training frames need unique ids; some repeat.")
    for frame in frames:
        _check_frame(frame)
        _check_structure(frame, elements)
    _check_level(frames)


def common_level_of_theory(frames: Sequence[TrainingFrame]) -> str | None:
    """Return the level of theory that the frames not aligned state; None if none does."""
    return next((frame.level_of_theory for frame in frames if frame.level_of_theory and not frame.aligned), None)


def _check_frame(frame: TrainingFrame) -> None:
    n_atoms = len(frame.atoms)
    if not re.fullmatch(r"[\w-][\w.-]*", frame.id):
        raise TrainingDataError(f"A frame's id names a file; received {frame.id!r}: use letters, digits and . _ -")
    if not frame.has_label:
        raise TrainingDataError(f"Frame {frame.id} has no label, neither energy, forces nor stress; leave it out.")
    if np.isinf(frame.energy_eV):
        raise TrainingDataError(f"Frame {frame.id} has an infinite energy; leave the label out.")
    for name, label, shape in (
        ("forces", frame.forces_eV_per_A, (n_atoms, 3)),
        ("stress", frame.stress_eV_per_A3, (6,)),
    ):
        if label is None:
            continue
        if np.shape(label) != shape:
            raise TrainingDataError(f"Frame {frame.id} has {name} of shape {np.shape(label)}, expected {shape}.")
        if not np.isfinite(label).all():
            raise TrainingDataError(f"Frame {frame.id} has {name} with NaN or infinity; leave the label out.")


def _check_structure(frame: TrainingFrame, elements: Set[int]) -> None:
    try:
        check_structures([frame.atoms], elements)
    except StructureError as error:
        raise type(error)(f"Frame {frame.id} {error.reason}") from error


def _check_level(frames: Sequence[TrainingFrame]) -> None:
    """Refuse several energy surfaces: the committee would learn their difference as if it were physical."""
    stated = [frame for frame in frames if frame.level_of_theory and not frame.aligned]
    first = {frame.level_of_theory: frame.id for frame in reversed(stated)}
    if len(first) > 1:
        (one, here), (other, there) = list(first.items())[:2]
        raise TrainingDataError(
            f"Labels of different levels of theory cannot train one committee: frame {here} is {one!r}, "
            f"frame {there} is {other!r}. Train a committee for each, label the frames again at one of them, or align "
            "the others first (committee.training.aligned_levels; `align.other_labels` in a campaign)."
        )
