"""Check whether a recorded process still runs, although process ids are reused."""

import os
import socket
from contextlib import suppress
from pathlib import Path


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
