"""What fails while something is read that others wrote (a program, a queue, a user) becomes one error on purpose."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from dft_interfaces.errors import DFTInterfaceError

_CHARACTERS: Final = 300  # of what a reader said


@contextmanager
def reading(
    error: Callable[[str], Exception], passing: tuple[type[Exception], ...] = (DFTInterfaceError,)
) -> Iterator[None]:
    """Turn any failure within into one error; errors that are raised on purpose pass as they are.

    Keep what stands inside small: outside of it, an unexpected exception is a bug of ours and keeps its traceback.

    Args:
        error: makes the error from the reason, one line.
        passing: what is raised on purpose.

    Raises:
        error: something within failed.
    """
    try:
        yield
    except passing:
        raise
    except Exception as failure:
        raise error(reason_of(failure)) from failure


def reason_of(error: BaseException) -> str:
    """Say in a few words what a reader met, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, UnicodeError):
        return "its text is not UTF-8"
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return said if len(said) <= _CHARACTERS else f"{said[:_CHARACTERS]}..."
