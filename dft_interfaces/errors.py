"""Errors a user can act on: what was received, what was expected, what to do next."""


class DFTInterfaceError(Exception):
    """Base of every error this package raises on purpose. A failed calculation is a Label, not an error."""


class EngineNotInstalledError(DFTInterfaceError):
    """The engine's library or program is missing."""


class EngineSettingsError(DFTInterfaceError, ValueError):
    """Settings that are known to give wrong labels, or that the engine cannot carry out."""


class QueueError(DFTInterfaceError):
    """A queue that does not answer, or does not take a job; holds its own words."""
