"""Whether a process that was noted still runs (its number may have come to mean another one), and how it is ended."""

import os
import socket
from contextlib import suppress
from pathlib import Path

import psutil


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
    kill_all(below(pid))
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).kill()


def kill_all(processes: list[psutil.Process]) -> None:
    """Kill processes, as far as they still run."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
