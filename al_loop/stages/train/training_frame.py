"""Frames as the committee trains on them."""

from al_loop.records import Frame
from committee.training.training_frame import TrainingFrame


def training_frame(frame: Frame, name: str = "", level: str = "") -> TrainingFrame:
    """Return a labelled frame for the fit; missing parts of its label are masked there.

    Args:
        frame: with its label; frames of one trajectory of a round are held back from a fit together.
        name: id in the fit; by default the frame's own.
        level: description of the level of theory; by default the fingerprint of the label's.
    """
    label = frame.label
    return TrainingFrame(
        id=name or frame.frame_id,
        atoms=frame.atoms,
        energy_eV=frame.energy_eV,
        forces_eV_per_A=None if label is None else label.forces_eV_per_A,
        stress_eV_per_A3=None if label is None else label.stress_eV_per_A3,
        group=f"{frame.round}/{frame.trajectory}" if frame.trajectory else "",
        level_of_theory=level or ("" if label is None else label.level_of_theory),
    )
