"""Errors that a user can act on; each message states what was received, what was expected and what to do next."""


class CampaignError(Exception):
    """Base of every error that this package raises on purpose; the command line shows it and exits with 1."""


class InputError(CampaignError):
    """Bad input or a missing part of the environment: one readable message, nothing changed, exit code 2."""


class GuardStop(CampaignError):  # noqa: N818 - a stop, not an error
    """A guard ended the campaign (unphysical exploration, budget): exit code 3."""


class NoAnswerError(Exception):
    """A calculator cannot compute a quantity; the message holds the reason. Never ends a command."""


class DatabaseLostError(CampaignError):
    """The ledger's server was lost during a command, which resumes once it is back: exit code 1."""
