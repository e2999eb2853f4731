"""A separate process for an engine: it handles one request at a time and is ended with everything it started."""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from multiprocessing import Pipe
from typing import Any

import psutil

from dft_interfaces.errors import DFTInterfaceError, EngineNotInstalledError, EngineSettingsError
from dft_interfaces.failures import EngineFailureError, describe_exit, failure_of_exit
from dft_interfaces.foreign import reading
from dft_interfaces.isolation.processes import below, kill_with_all_below
from dft_interfaces.label import Failure
from dft_interfaces.output_tail import last_lines
from dft_interfaces.settings import EngineSettings, LimitSettings

BUILD_TIME_S = 600.0
"""Imports from a busy network disk take minutes."""

_LOG_BYTES = 20_000
_MAX_LOG_BYTES = 20_000_000
_MEMORY_POLL_S, _LOG_POLL_S = 0.1, 1.0
_GRACE_S = 10.0
_GB = 1e9
_PROGRAM = """
import sys
sys.path[:] = sys.argv[2:]  # modules are found where the caller finds them
from dft_interfaces.isolation.process_guard import run_guarded

def calculate():
    from dft_interfaces.isolation.program import serve
    serve(int(sys.argv[1]))

run_guarded(calculate, int(sys.argv[1]))
"""
_ERRORS = {error.__name__: error for error in (DFTInterfaceError, EngineNotInstalledError, EngineSettingsError)}


class EngineProcess:
    """Builds an engine in a separate process and sends requests to it.

    Raises:
        EngineNotInstalledError: the engine's library is missing.
        EngineSettingsError: settings that the engine cannot carry out.
        EngineFailureError: the process ended, or exceeded its limits, before the engine was built.
    """

    def __init__(self, settings: EngineSettings, limits: LimitSettings) -> None:
        self._limits = limits
        self._request_number = 0
        self._log = tempfile.TemporaryFile("a+b", prefix="engine-")  # noqa: SIM115 - closed with the process
        # Without O_APPEND the writer's position would stay beyond the end when the log is shortened.
        fcntl.fcntl(self._log, fcntl.F_SETFL, fcntl.fcntl(self._log, fcntl.F_GETFL) | os.O_APPEND)
        self._connection, theirs = Pipe()
        try:
            with theirs:
                self._process = self._started(theirs.fileno())
        except BaseException:
            self._connection.close()
            self._log.close()
            raise
        try:
            description = self.request("build", BUILD_TIME_S, settings=settings.model_dump(mode="json"))
            self.description: dict[str, Any] = description
        except BaseException:
            self.close()
            raise

    def _started(self, channel: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(channel), *sys.path],
            stdin=subprocess.PIPE,  # when it closes, the guard ends everything
            stdout=self._log,
            stderr=self._log,
            pass_fds=[channel],
            start_new_session=True,  # only the caller handles Ctrl-C
        )

    @property
    def responds(self) -> bool:
        """Whether the process replies to a ping; if not, it was killed before and must not fail the next label."""
        if self._connection.closed or self._process.poll() is not None:
            return False
        try:
            self.request("ping", _GRACE_S)
        except EngineFailureError:
            return False
        return True

    def request(self, method: str, time_s: float | None = None, /, **arguments: Any) -> Any:
        """Call a method of the engine and return its result; arguments and result are JSON.

        Raises:
            EngineFailureError: the process ended, or exceeded its limits and was ended; the message holds its last
                output lines.
            DFTInterfaceError: the engine raised it.
        """
        start = time.monotonic()
        try:
            self._log.truncate(0)
            self._request_number += 1
            request = {"ask": method, "number": self._request_number, **arguments}
            self._connection.send_bytes(json.dumps(request).encode())
            self._wait(time_s or self._limits.time_s)
            reply = _reply(self._connection.recv_bytes())
            if reply.get("number") != self._request_number:
                raise self._failed(
                    Failure.CRASH,
                    f"sent reply {reply.get('number')} to request {self._request_number}: it replies twice",
                )
        except (EOFError, ConnectionError) as error:
            raise self._ended(time.monotonic() - start) from error
        except BaseException:
            self.close()
            raise
        if "error" in reply:
            kind = _ERRORS.get(reply["error"])
            raise DFTInterfaceError(reply["traceback"]) if kind is None else kind(reply["text"])
        return reply["answer"]

    def close(self) -> None:
        """End the process and everything it started."""
        self._end()
        self._log.close()

    def _end(self) -> None:
        self._connection.close()
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            # A stopped guard ends nothing, and the processes below it would outlive it.
            kill_with_all_below(self._process.pid)
            self._process.wait()

    def _wait(self, time_s: float) -> None:
        """Return when a reply begins to arrive.

        Raises:
            EngineFailureError: the limits were exceeded.
        """
        end, limit_GB = time.monotonic() + time_s, self._limits.memory_GB
        pause_s = _LOG_POLL_S if limit_GB is None else _MEMORY_POLL_S
        while not self._connection.poll(min(pause_s, max(0.0, end - time.monotonic()))):
            if time.monotonic() >= end:
                raise self._failed(Failure.TIME, f"was ended at its time limit of {time_s:g} s")
            self._shorten_log()
            if limit_GB is not None and (used_GB := self._memory_GB()) > limit_GB:
                raise self._failed(
                    Failure.MEMORY, f"was ended: it used {used_GB:.2f} GB, and its limit is {limit_GB:g} GB"
                )

    def _memory_GB(self) -> float:
        """Return the resident memory of the engine and the programs it started."""
        used = 0
        for process in below(self._process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                used += process.memory_info().rss
        return used / _GB

    def _ended(self, seconds: float) -> EngineFailureError:
        """Return how the process ended, as an error."""
        try:
            code = self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            return self._failed(Failure.CRASH, "closed its connection without a reply and was ended")
        return self._failed(
            failure_of_exit(code, self._last_lines()), f"ended after {seconds:.2f} s with {describe_exit(code)}"
        )

    def _failed(self, failure: Failure, what: str) -> EngineFailureError:
        """End the process, if it did not by itself, and return why as an error."""
        self._end()  # first, since the guard prints the output tail when the process ends
        failed = EngineFailureError(failure, f"the calculation {what}\n{self._last_lines()}".strip())
        self._log.close()
        return failed

    def _shorten_log(self) -> None:
        """Keep a process that prints endlessly from filling the disk."""
        if os.fstat(self._log.fileno()).st_size > _MAX_LOG_BYTES:
            end = self._log_end()
            self._log.truncate(0)
            os.write(self._log.fileno(), end)

    def _last_lines(self) -> str:
        return last_lines(self._log_end().decode(errors="replace"))

    def _log_end(self) -> bytes:
        handle = self._log.fileno()
        return os.pread(handle, _LOG_BYTES, max(0, os.fstat(handle).st_size - _LOG_BYTES))


def _reply(data: bytes) -> dict[str, Any]:
    """Parse a reply: a result, or an error with its text; a library of the engine may write anything to the socket."""
    with reading(lambda why: EngineFailureError(Failure.OUTPUT, f"the calculation's reply cannot be read ({why})")):
        reply: dict[str, Any] = json.loads(data)
        for key in ("text", "traceback") if "error" in reply else ("answer",):
            reply[key]
        return reply
