"""Exit codes of errors: 0 success, 2 invalid input, 3 stopped by a safety check, 130 interrupted, 1 any other."""

import errno
import functools
import io
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import typer

from al_loop.errors import CampaignError, GuardStop, InputError
from al_loop.utils.event_log import EventLog
from al_loop.utils.redaction import mask_uri
from committee.errors import CheckpointError, CommitteeError, FoundationError, StructureError
from dft_interfaces.errors import DFTInterfaceError, EngineNotInstalledError, EngineSettingsError

P = ParamSpec("P")
R = TypeVar("R")

BAD_INPUT = (
    InputError,
    CheckpointError,
    FoundationError,
    StructureError,
    EngineNotInstalledError,
    EngineSettingsError,
)
ON_PURPOSE = (CampaignError, CommitteeError, DFTInterfaceError)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a full disk, a quota, a limit of the size of files
_NO_ROOM = (
    "The disk or quota is full, or a file-size limit is reached (df, quota, ulimit -f). Free space, then run the same "
    "command again: it resumes, and no finished work is lost."
)


def exit_code(error: BaseException) -> int:
    """Return the exit code of the command line for this error."""
    if isinstance(error, BAD_INPUT):
        return 2
    if isinstance(error, GuardStop):
        return 3
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Make a command end with one readable message and the matching exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        print_any_name()
        try:
            return command(*args, **kwargs)
        except (*ON_PURPOSE, KeyboardInterrupt) as error:
            _say(_message(error))
            raise typer.Exit(exit_code(error)) from None
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            _say(f"{_message(error)}\n{_NO_ROOM}")
            raise typer.Exit(1) from None

    return run


def print_any_name() -> None:
    """Let standard output and error print any file name: characters they cannot encode are escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Write the traceback of an unexpected error into the campaign's log and print the path of the log.

    Args:
        path: the log; without its folder the traceback goes to standard error.
    """
    try:
        yield
    except (typer.Exit, *BAD_INPUT, GuardStop):
        raise
    except KeyboardInterrupt:
        _say("Interrupted. No finished work is lost: the same command resumes the campaign.")
        raise typer.Exit(130) from None
    except Exception as error:
        if not path.parent.is_dir():
            raise
        EventLog(path).write("error", error=mask_uri(str(error)), traceback=mask_uri(traceback.format_exc()))
        known = isinstance(error, OSError) and error.errno in NO_ROOM
        _say(f"{_message(error)}\n{_NO_ROOM if known else f'The traceback is in the last line of {path}.'}")
        raise typer.Exit(1) from None


def _message(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted."
    if isinstance(error, ON_PURPOSE):
        return mask_uri(str(error))
    return mask_uri(f"{type(error).__name__}: {error}")


def _say(text: str) -> None:
    sys.stderr.write(f"al-loop: {text}\n")
