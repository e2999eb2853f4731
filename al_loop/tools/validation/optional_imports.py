"""Libraries that only some checks need."""

from importlib import import_module
from typing import Any

from al_loop.errors import NoAnswerError


def library(module: str) -> Any:
    """Import a module of pymatgen or spglib.

    Args:
        module: its full name.

    Raises:
        NoAnswerError: it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise NoAnswerError(f"needs {error.name}; pip install 'al-loop[validation]'") from error
