"""Check whether a recorded process still runs, although process ids are reused, and end processes."""

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

import psutil

_PAUSE_S = 0.02


def machine() -> str:
    """Identifier of this boot of this machine and of this container's namespace of process ids; empty if unknown."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def start_of(pid: int) -> str | None:
    """Start time of a process, in clock ticks since boot; None if it is unknown, empty if the process has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return "" if fields[0] in ("Z", "X") else fields[19]


def exists(pid: int) -> bool:
    """Whether there is a process with this id, of any user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def below(pid: int) -> list[psutil.Process]:
    """Return the running descendants of a process."""
    found: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(pid).children(recursive=True)
    return found


def kill_with_all_below(pid: int) -> None:
    """Kill a process and its descendants, which may be frozen and would outlive it."""
    with suppress(psutil.NoSuchProcess):
        _kill_all([*below(pid), psutil.Process(pid)])


def kill_late(processes: list[psutil.Process], deadline: float) -> None:
    """Wait for the end of processes, and kill those that still run at the deadline (``time.monotonic``)."""
    while (late := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)
    _kill_all(late)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _kill_all(processes: list[psutil.Process]) -> None:
    """Kill those of the processes that still run."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
