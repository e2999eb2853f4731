"""A small parent process that ends the calculating process and everything it started when the caller ends.

It never calculates, so that it always notices when its standard input closes, which happens when the caller ends, even
while the calculation hangs in compiled code. The guard removes the folder of the calculation's temporary files, since
a killed process cannot.
"""

import contextlib
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def run_guarded(calculate: Callable[[], object], child_only_fd: int) -> NoReturn:
    """Run a function in a child process until the child ends or standard input closes; then exit as the child did.

    Only the child keeps the file descriptor, so that it closes when the child ends.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # programs that outlive the child stay below the guard
    guard, scratch = os.getpid(), tempfile.mkdtemp(prefix="engine-")
    child = os.fork()
    if child == 0:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == guard:
            # TMPDIR would also be passed to programs on other nodes, which lack this folder.
            tempfile.tempdir = scratch
            _leave_after(calculate)
        os._exit(0)
    os.close(child_only_fd)
    threading.Thread(target=_end_with_input, daemon=True).start()
    ended, status = os.waitpid(-1, 0)
    while ended != child:  # reap orphans of the calculation's programs, which would stay as zombies
        ended, status = os.waitpid(-1, 0)
    _end_everything_below()
    if status:
        _print_output_tail(scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    _end_like(os.waitstatus_to_exitcode(status))


def _leave_after(calculate: Callable[[], object]) -> NoReturn:
    """End this process after the calculation or ``sys.exit``, without waiting for threads that it started."""
    code: object = 0
    try:
        calculate()
    except SystemExit as error:
        code = error.code
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _end_with_input() -> None:
    while os.read(0, 1024):
        pass
    _end_everything_below()


def _end_everything_below() -> None:
    """Kill until nothing runs; only ``run_guarded`` waits for the child, whose exit status can be read only once."""
    from dft_interfaces.isolation.processes import PAUSE_S, below, kill_all, runs

    while running := [process for process in below(os.getpid()) if runs(process)]:
        kill_all(running)
        time.sleep(PAUSE_S)


def _print_output_tail(scratch: str) -> None:
    """Print the end of the files that the calculation's programs wrote, before their folder is removed."""
    from dft_interfaces.output_tail import last_written

    with contextlib.suppress(OSError):
        os.write(1, f"\n{last_written(Path(scratch))}\n".encode())


def _end_like(code: int) -> NoReturn:
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
