"""Errors a user can act on: what was received, what was expected, what to do next."""


class CommitteeError(Exception):
    """Base of every error this package raises on purpose."""


class StructureError(CommitteeError, ValueError):
    """A structure that no model could be asked about: empty, NaN positions, a flat periodic cell."""


class UnknownElementError(StructureError):
    """The foundation was not trained on an element of the structure."""


class FoundationError(CommitteeError):
    """A foundation that is unknown, not installed, or whose weights are missing."""


class FoundationAnswerError(CommitteeError):
    """A foundation that failed on a structure, or answered with NaN."""


class CheckpointError(CommitteeError):
    """A committee checkpoint that is truncated, edited, or made for another foundation."""


class TrainingDataError(CommitteeError, ValueError):
    """Labels that cannot be trained on."""
