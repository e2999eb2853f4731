"""Errors a user can act on: what was received, what was expected, what to do next."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Self


class CommitteeError(Exception):
    """Base of every error this package raises on purpose."""


class RefusedFrameError(CommitteeError):
    """A frame that there is no prediction for.

    Attributes:
        reason: why.
        frame_index: position of the frame among those that were predicted together; the others are sound as far as
            they were evaluated, so leave this one out and predict again. None if it is about no single one.
    """

    reason: str
    frame_index: int | None

    def later_by(self, frames: int) -> Self:
        """Return the same error of a frame that is so many frames further on: a batch begins where another ended."""
        later = copy(self)
        later.frame_index = None if self.frame_index is None else self.frame_index + frames
        return later


@contextmanager
def frames_counted_from(start: int) -> Iterator[None]:
    """Count the frame of an error from the first of all frames, where a batch begins at ``start``."""
    try:
        yield
    except RefusedFrameError as error:
        raise error.later_by(start) from error.__cause__


class StructureError(RefusedFrameError, ValueError):
    """A structure that no model could be asked about: empty, NaN positions, a flat periodic cell, overlapping atoms.

    Args:
        reason: what is wrong and what to do; with an index it continues "Frame 3 ...".
        frame_index: position of the frame among those that were asked for together; None if it is about no single one.
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
    """A foundation that is unknown, not installed, or whose weights are missing."""


class FoundationAnswerError(RefusedFrameError):
    """A foundation that failed on a structure, or answered with NaN.

    Args:
        foundation: which one, in words.
        frame_index: position of the frame among those that were predicted together.
        formula: of the frame.
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
    """A committee checkpoint that is truncated, edited, or made for another foundation."""


class TrainingDataError(CommitteeError, ValueError):
    """Labels that cannot be trained on."""
