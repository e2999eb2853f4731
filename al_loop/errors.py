"""Errors a user can act on: what was received, what was expected, what to do next."""


class CampaignError(Exception):
    """Base of every error this package raises on purpose; the command line shows it and exits with 1."""


class InputError(CampaignError):
    """Bad input or a missing part of the environment: one readable message, nothing changed, exit code 2."""


class GuardStop(CampaignError):  # noqa: N818 - a stop, not an error
    """A guard ended the campaign (unphysical exploration, budget): exit code 3."""


class NoAnswerError(Exception):
    """A calculator that cannot say what it is asked: a number has no value, and this is why. Never ends a command."""


class DatabaseLostError(CampaignError):
    """The ledger's server went away in the middle of a command, which resumes once it is back: exit code 1."""
