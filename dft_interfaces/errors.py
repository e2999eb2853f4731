"""Errors that a user can act on: each message names the value received, the value expected and the next step."""


class DFTInterfaceError(Exception):
    """Base of every error this package raises on purpose. A failed calculation is a Label, not an error."""


class EngineNotInstalledError(DFTInterfaceError):
    """The engine's library or program is missing."""


class EngineSettingsError(DFTInterfaceError, ValueError):
    """Settings that are known to give wrong labels, or that the engine cannot carry out."""


class QueueError(DFTInterfaceError):
    """A queue that does not respond or refuses a job; contains the queue's own message."""
