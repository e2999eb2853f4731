"""The boundary between al-loop and foreign input: a failure to read it gives one message, not a traceback.

Code that converts foreign bytes or text (a file, a setting, a row of a database, output of another program) runs inside
``reading`` or ``each_read``, and catches nothing by itself. Keep the code inside small: outside of it, an unexpected
exception is a bug of al-loop and keeps its traceback.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from al_loop.errors import CampaignError, InputError
from committee import foreign
from committee.errors import CommitteeError
from committee.foreign import reason_of
from dft_interfaces.errors import DFTInterfaceError

__all__ = ["each_read", "reading", "reason_of"]

T = TypeVar("T")

reading = partial(foreign.reading, error=InputError, passing=(CampaignError, CommitteeError, DFTInterfaceError))
"""Turn any failure in a block into one ``InputError``, "WHAT cannot be read (why); REMEDY"; deliberate errors pass.

``with reading(what, remedy)``: a file and the position in it, such as ``runs/a.xyz, frame 3``, and what to do next.
"""


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
