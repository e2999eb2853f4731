"""The one boundary between al-loop and what others wrote: what fails within it is one message, not a traceback.

Code that turns foreign bytes or text into values of ours (a file, a setting, a row of a database, what another
program printed) runs inside ``reading`` or ``each_read``, and catches nothing by itself. Keep what stands inside small:
outside of it, an unexpected exception is a bug of ours and keeps its traceback.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from al_loop.errors import CampaignError, InputError
from committee.errors import CommitteeError
from dft_interfaces.errors import DFTInterfaceError

T = TypeVar("T")

_OURS: Final = (CampaignError, CommitteeError, DFTInterfaceError)
_CHARACTERS: Final = 300  # of what a reader said


@contextmanager
def reading(what: object, remedy: str) -> Iterator[None]:
    """Turn any failure within into one ``InputError``; errors that are raised on purpose pass as they are.

    Args:
        what: which file and which place in it, as the message begins: ``runs/a.xyz, frame 3``.
        remedy: what to do next, a sentence without its full stop.

    Raises:
        InputError: "what cannot be read (why); remedy".
    """
    try:
        yield
    except _OURS:
        raise
    except Exception as error:
        raise InputError(f"{what} cannot be read ({reason_of(error)}); {remedy}") from error


def each_read(items: Iterator[T], what: Callable[[int], object], remedy: str) -> Iterator[T]:
    """Yield what a foreign reader yields; a failure of the reader, and of nobody else, is an ``InputError``.

    Args:
        items: of the reader.
        what: from the number of an item, counted from 0, to how the message begins.
        remedy: what to do next, a sentence without its full stop.

    Raises:
        InputError: as ``reading``.
    """
    number, end = 0, object()
    while True:
        with reading(what(number), remedy):
            item = next(items, end)
        if item is end:
            return
        yield item  # type: ignore[misc]  # not the end
        number += 1


def reason_of(error: BaseException) -> str:
    """Say in a few words what a foreign reader met, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, UnicodeError):
        return "its text is not UTF-8"
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    said = " ".join(str(error).split())
    if isinstance(error, KeyError):
        said = f"it lacks {said}"
    shortened = said if len(said) <= _CHARACTERS else f"{said[:_CHARACTERS]}..."
    return f"{type(error).__name__}: {shortened}" if shortened else type(error).__name__
