"""Turn any failure while reading the output of a program, a queue or a user into one deliberate error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from dft_interfaces.errors import DFTInterfaceError

_MAX_CHARACTERS: Final = 300  # of a reader's message


@contextmanager
def reading(
    error: Callable[[str], Exception], passing: tuple[type[Exception], ...] = (DFTInterfaceError,)
) -> Iterator[None]:
    """Turn any failure within the block into one error; deliberate errors pass unchanged.

    Keep the block small: outside of it, an unexpected exception is a bug of ours and keeps its traceback.

    Args:
        error: makes the error from the reason, one line.
        passing: the deliberate errors.

    Raises:
        error: the block failed.
    """
    try:
        yield
    except passing:
        raise
    except Exception as failure:
        raise error(reason_of(failure)) from failure


def reason_of(error: BaseException) -> str:
    """Return a reader's failure as a short reason on one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, UnicodeError):
        return "its text is not UTF-8"
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return reason if len(reason) <= _MAX_CHARACTERS else f"{reason[:_MAX_CHARACTERS]}..."
