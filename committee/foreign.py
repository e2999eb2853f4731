"""Any failure while foreign input is read becomes one error that names the place and a remedy."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from committee.errors import CheckpointError, CommitteeError

_MAX_CHARACTERS: Final = 300  # of a quoted error message


@contextmanager
def reading(
    what: object,
    remedy: str,
    error: Callable[[str], Exception] = CheckpointError,
    passing: tuple[type[Exception], ...] = (CommitteeError,),
) -> Iterator[None]:
    """Convert any failure inside into one error; errors raised deliberately pass unchanged.

    Keep the block small: an unexpected exception outside it is a bug of this package and keeps its traceback.

    Args:
        what: the file and the place in it; the message begins with it.
        remedy: what to do next, a sentence without its full stop.
        error: makes the exception from the message.
        passing: exception types that pass unchanged.

    Raises:
        error: "what cannot be read (why); remedy".
    """
    try:
        yield
    except passing:
        raise
    except Exception as failure:
        raise error(f"{what} cannot be read ({reason_of(failure)}); {remedy}") from failure


def reason_of(error: BaseException) -> str:
    """Summarise the failure of a foreign reader in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, UnicodeError):
        return "its text is not UTF-8"
    if isinstance(error, MemoryError):
        return "it needs more memory than is available"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    message = " ".join(str(error).split())
    if isinstance(error, KeyError):
        message = f"it lacks {message}"
    shortened = message if len(message) <= _MAX_CHARACTERS else f"{message[:_MAX_CHARACTERS]}..."
    return f"{type(error).__name__}: {shortened}" if shortened else type(error).__name__


def is_file(path: Path | str) -> bool:
    """Whether a path names a file, or something unreadable, for which opening raises the reason."""
    try:
        return Path(path).is_file()
    except PermissionError:
        return True
    except OSError:  # longer than any file name
        return False
