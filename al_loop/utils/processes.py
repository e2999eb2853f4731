"""Whether a process that was noted still runs (its number may have come to mean another one), and how it is ended."""

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

import psutil

_PAUSE_S = 0.02


def machine() -> str:
    """This boot of this machine, and the numbering of processes that holds in this container; empty if unknown."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def start_of(pid: int) -> str | None:
    """When a process was started, in ticks since the machine was; None if that is not to be seen, empty if it ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return "" if fields[0] in ("Z", "X") else fields[19]


def exists(pid: int) -> bool:
    """Whether there is a process of this number, of whatever user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def below(pid: int) -> list[psutil.Process]:
    """Return what a process has started and what that has started, as far as it runs."""
    found: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(pid).children(recursive=True)
    return found


def kill_with_all_below(pid: int) -> None:
    """Kill a process and all below it, which may be frozen as well and would outlive it."""
    with suppress(psutil.NoSuchProcess):
        _kill_all([*below(pid), psutil.Process(pid)])


def kill_late(processes: list[psutil.Process], deadline: float) -> None:
    """Wait until processes have ended, and kill those that have not by then (``time.monotonic``)."""
    while (late := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)
    _kill_all(late)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _kill_all(processes: list[psutil.Process]) -> None:
    """Kill processes, as far as they still run."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
