"""The one boundary between al-loop and what others wrote: what fails within it is one message, not a traceback.

Code that turns foreign bytes or text into values of ours (a file, a setting, a row of a database, what another
program printed) runs inside ``reading`` or ``each_read``, and catches nothing by itself. Keep what stands inside small:
outside of it, an unexpected exception is a bug of ours and keeps its traceback.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from al_loop.errors import CampaignError, InputError
from committee import foreign
from committee.errors import CommitteeError
from committee.foreign import reason_of
from dft_interfaces.errors import DFTInterfaceError

__all__ = ["each_read", "reading", "reason_of"]

T = TypeVar("T")

_OURS: Final = (CampaignError, CommitteeError, DFTInterfaceError)


@contextmanager
def reading(what: object, remedy: str) -> Iterator[None]:
    """Turn any failure within into one ``InputError``; errors that are raised on purpose pass as they are.

    Args:
        what: which file and which place in it, as the message begins: ``runs/a.xyz, frame 3``.
        remedy: what to do next, a sentence without its full stop.

    Raises:
        InputError: "what cannot be read (why); remedy".
    """
    with foreign.reading(what, remedy, InputError, _OURS):
        yield


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
