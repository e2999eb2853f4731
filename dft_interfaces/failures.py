"""Classify exceptions, process exits and an engine's last output lines by kind of failure."""

import errno
import signal
from collections.abc import Iterator
from subprocess import CalledProcessError, TimeoutExpired

import numpy as np

from dft_interfaces.label import Failure


class EngineFailureError(Exception):
    """The engine ended without a result for a known reason; carries the kind of failure and the last output lines."""

    def __init__(self, failure: Failure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


_OF_ERRNO = {
    errno.ENOSPC: Failure.DISK,
    errno.EDQUOT: Failure.DISK,
    errno.EFBIG: Failure.DISK,
    errno.ENOMEM: Failure.MEMORY,
    errno.ENOENT: Failure.OUTPUT,
    errno.ETIMEDOUT: Failure.TIME,
}

_OF_EXCEPTION: dict[type[BaseException], Failure] = {
    MemoryError: Failure.MEMORY,
    EOFError: Failure.OUTPUT,
    TimeoutExpired: Failure.TIME,
    NotImplementedError: Failure.UNSUITABLE,
    FloatingPointError: Failure.NOT_FINITE,
    np.linalg.LinAlgError: Failure.UNCONVERGED,  # the density diverged; another retry strategy may converge
}

_OF_SIGNAL = {
    signal.SIGXFSZ: Failure.DISK,
    signal.SIGXCPU: Failure.TIME,
    signal.SIGTERM: Failure.CANCELLED,
    signal.SIGINT: Failure.CANCELLED,
    signal.SIGHUP: Failure.CANCELLED,
}

_OF_TEXT = {
    "no space left on device": Failure.DISK,
    "disk quota exceeded": Failure.DISK,
    "file size limit exceeded": Failure.DISK,
    "file too large": Failure.DISK,
    "cannot allocate memory": Failure.MEMORY,
    "out of memory": Failure.MEMORY,
    "out-of-memory": Failure.MEMORY,
    "oom-kill": Failure.MEMORY,
    "bad_alloc": Failure.MEMORY,
    "insufficient virtual memory": Failure.MEMORY,
    "memory allocation still failed": Failure.MEMORY,  # OpenBLAS, which then ends the process with exit code 1
    "due to time limit": Failure.TIME,
}
"""What operating systems, run-time libraries and queues print, in lower case."""

_SHELL_SIGNAL = 128  # a shell returns this plus the number of the signal


def failure_of(error: BaseException) -> Failure:
    """Return the kind of failure of an exception, from the exception itself and its causes.

    Args:
        error: with its traceback: exceptions of ASE's output readers (``read_results``) count as faulty output.
    """
    for cause in _causes(error):
        found = _of_one(cause)
        if found is not None:
            return found
    if any("read_results" in names for names in map(_function_names, _causes(error))):
        return Failure.OUTPUT
    return failure_in_text("\n".join(str(cause) for cause in _causes(error)))


def failure_of_exit(code: int, last_lines: str = "") -> Failure:
    """Return the kind of failure of a process that ended.

    Args:
        code: exit code; -n, or 128 + n from a shell, for a process ended by signal n.
        last_lines: the end of its output.
    """
    number = signal_of(code)
    return _OF_SIGNAL.get(number, failure_in_text(last_lines)) if number else failure_in_text(last_lines)


def failure_in_text(text: str) -> Failure:
    """Return the kind of failure that an engine's last lines name; a crash if they name none."""
    lower = text.lower()
    return next((kind for phrase, kind in _OF_TEXT.items() if phrase in lower), Failure.CRASH)


def describe_exit(code: int) -> str:
    """Return a description of how a process ended."""
    number = signal_of(code)
    if number is None:
        return f"exit code {code}"
    hint = ", which the system sends when memory runs out" if number is signal.SIGKILL else ""
    return f"signal {number:d} ({signal.strsignal(number)}{hint})"


def signal_of(code: int) -> signal.Signals | None:
    """Return the signal that ended a process, None if it ended by itself."""
    number = -code if code < 0 else code - _SHELL_SIGNAL
    return signal.Signals(number) if number in set(signal.Signals) else None


def _of_one(error: BaseException) -> Failure | None:
    if isinstance(error, EngineFailureError):
        return error.failure
    if isinstance(error, OSError):
        return _OF_ERRNO.get(error.errno or 0)
    if isinstance(error, CalledProcessError):
        printed = (text.decode(errors="replace") if isinstance(text, bytes) else text for text in _printed(error))
        found = failure_of_exit(error.returncode, "\n".join(printed))
        return None if found is Failure.CRASH else found
    return next((kind for cause, kind in _OF_EXCEPTION.items() if isinstance(error, cause)), None)


def _printed(error: CalledProcessError) -> Iterator[bytes | str]:
    yield from filter(None, (error.stdout, error.stderr))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _function_names(error: BaseException) -> Iterator[str]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame.f_code.co_name
        trace = trace.tb_next
