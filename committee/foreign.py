"""What fails while something is read that others wrote becomes one error with its place and a remedy."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from committee.errors import CheckpointError, CommitteeError

_CHARACTERS: Final = 300  # of what a reader said


@contextmanager
def reading(
    what: object,
    remedy: str,
    error: Callable[[str], Exception] = CheckpointError,
    passing: tuple[type[Exception], ...] = (CommitteeError,),
) -> Iterator[None]:
    """Turn any failure within into one error; errors that are raised on purpose pass as they are.

    Keep what stands inside small: outside of it, an unexpected exception is a bug of ours and keeps its traceback.

    Args:
        what: which file and which place in it, as the message begins.
        remedy: what to do next, a sentence without its full stop.
        error: what is raised.
        passing: what is raised on purpose.

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


def is_file(path: Path | str) -> bool:
    """Whether a path names a file, or what may not be looked at: opening that says why."""
    try:
        return Path(path).is_file()
    except PermissionError:
        return True
    except OSError:  # longer than any name of a file
        return False
