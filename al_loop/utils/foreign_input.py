"""The boundary between al-loop and foreign input: a failure to read it gives one message, not a traceback.

Code that converts foreign bytes or text (a file, a setting, a row of a database, output of another program) runs inside
``reading`` or ``each_read``, and catches nothing by itself. Keep the code inside small: outside of it, an unexpected
exception is a bug of al-loop and keeps its traceback.
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
    """Turn any failure in the block into one ``InputError``; errors that are raised on purpose pass unchanged.

    Args:
        what: file and position, the beginning of the message: ``runs/a.xyz, frame 3``.
        remedy: what to do next, a sentence without its full stop.

    Raises:
        InputError: "what cannot be read (why); remedy".
    """
    with foreign.reading(what, remedy, InputError, _OURS):
        yield


def each_read(items: Iterator[T], what: Callable[[int], object], remedy: str) -> Iterator[T]:
    """Yield the items of a foreign reader; a failure of the reader, but not of the consumer, is an ``InputError``.

    As ``reading``, with a function from the index of an item to the beginning of the message.
    """
    number, end = 0, object()
    while True:
        with reading(what(number), remedy):
            item = next(items, end)
        if item is end:
            return
        yield item  # type: ignore[misc]  # not the end
        number += 1
