"""Sentences on what was merged, set apart or left out of an input: warnings in the log unless the caller shows them."""

import logging
from collections.abc import Callable

Notify = Callable[[str], object]
"""Called with each sentence, before anything is computed."""


def log_note(sentence: str) -> None:
    """Write a sentence to the log ``al_loop``, which Python shows on standard error."""
    logging.getLogger("al_loop").warning("%s", sentence)
