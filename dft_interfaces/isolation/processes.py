"""Find and end processes with everything below them."""

import time
from contextlib import suppress

import psutil

PAUSE_S = 0.02


def below(pid: int) -> list[psutil.Process]:
    """Return the running descendants of a process."""
    found: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(pid).children(recursive=True)
    return found


def runs(process: psutil.Process) -> bool:
    """Whether a process runs and is no zombie."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kill_all(processes: list[psutil.Process]) -> None:
    """Kill those of the processes that still run."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def kill_with_all_below(pid: int) -> None:
    """Kill a process and its descendants, which may be frozen and would outlive it."""
    with suppress(psutil.NoSuchProcess):
        kill_all([*below(pid), psutil.Process(pid)])


def kill_late(processes: list[psutil.Process], deadline: float) -> None:
    """Wait for the end of processes, and kill those that still run at the deadline (``time.monotonic``)."""
    while (late := [process for process in processes if runs(process)]) and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
    kill_all(late)
