"""Errors that state what was received, what was expected and what to do next."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Self


class CommitteeError(Exception):
    """Base class of every error that this package raises deliberately."""


class RefusedFrameError(CommitteeError):
    """A frame that cannot be predicted.

    Attributes:
        reason: why.
        frame_index: position of the frame among those predicted together; the others may be valid, so leave this one
            out and predict again. None if the error does not concern a single frame.
    """

    reason: str
    frame_index: int | None

    def later_by(self, frames: int) -> Self:
        """Return the same error with ``frame_index`` increased by the number of frames in earlier batches."""
        later = copy(self)
        later.frame_index = None if self.frame_index is None else self.frame_index + frames
        return later


@contextmanager
def frames_counted_from(start: int) -> Iterator[None]:
    """Add ``start``, the index of a batch's first frame, to the ``frame_index`` of an error raised inside."""
    try:
        yield
    except RefusedFrameError as error:
        raise error.later_by(start) from error.__cause__


class StructureError(RefusedFrameError, ValueError):
    """The structure is invalid: empty, NaN positions, a flat periodic cell, overlapping atoms.

    Args:
        reason: what is wrong and what to do; with an index it continues "Frame 3 ...".
        frame_index: position of the frame among those predicted together; None if no single frame is concerned.
    """

    def __init__(self, reason: str, frame_index: int | None = None):
        super().__init__(reason, frame_index)
        self.reason = reason
        self.frame_index = frame_index

    def __str__(self) -> str:
        return self.reason if self.frame_index is None else f"Frame {self.frame_index} {self.reason}"


class UnknownElementError(StructureError):
    """The foundation was not trained on an element of the structure."""


class FoundationError(CommitteeError):
    """A foundation is unknown or not installed, or its weights are missing."""


class DeviceMemoryError(CommitteeError):
    """The memory of the device does not suffice for an evaluation.

    Args:
        frames: number of frames evaluated together.
        atoms: number of their atoms.
    """

    def __init__(self, frames: int, atoms: int):
        super().__init__(frames, atoms)
        self.frames = frames
        self.atoms = atoms

    def __str__(self) -> str:
        return (
            f"The device's memory does not suffice for {self.atoms} atoms in {self.frames} frame(s) evaluated "
            "together. Use smaller cells, end other programs that use the device, or set foundation.device: cpu."
        )


class FoundationEvaluationError(RefusedFrameError):
    """The foundation failed on a structure, or returned NaN.

    Args:
        foundation: a description of the foundation.
        frame_index: position of the frame among those predicted together.
        formula: chemical formula of the frame.
        reason: what went wrong, continuing "on this frame ...".
    """

    def __init__(self, foundation: str, frame_index: int, formula: str, reason: str):
        super().__init__(foundation, frame_index, formula, reason)
        self.foundation = foundation
        self.frame_index = frame_index
        self.formula = formula
        self.reason = reason

    def __str__(self) -> str:
        return f"The foundation is {self.foundation}; on frame {self.frame_index} ({self.formula}) {self.reason}"


class CheckpointError(CommitteeError):
    """A committee checkpoint is truncated, edited, or belongs to another foundation."""


class TrainingDataError(CommitteeError, ValueError):
    """The labels cannot be used for training."""
