"""Heartbeats of the campaign's own workers: bytes in a pipe, independent of database and wall clock.

A thread of the worker writes them, whatever its calculation does: they tell a worker that stands still from one whose
calculation takes hours.
"""

import contextlib
import os
import threading

from al_loop.ledger.expired_leases import ExpiredLeases

START_S = 600.0
"""Before its first sign of life a worker imports its libraries, from a busy network disk perhaps."""


def show_signs_of_life(descriptor: int, every_s: float) -> None:
    """Write to a pipe from a thread, for as long as this process lives."""
    os.set_inheritable(descriptor, False)
    os.set_blocking(descriptor, False)

    def beat() -> None:
        with contextlib.suppress(BrokenPipeError):  # the campaign has ended
            while True:
                with contextlib.suppress(BlockingIOError):  # the campaign explores, and reads nothing meanwhile
                    os.write(descriptor, b".")
                pause.wait(every_s)

    pause = threading.Event()
    threading.Thread(target=beat, daemon=True).start()


class SignsOfLife:
    """Reads the heartbeats of several workers and detects hanging ones."""

    def __init__(self, lease_s: float) -> None:
        self._pipes: dict[str, int] = {}
        self._signs: dict[str, int] = {}
        self._started: ExpiredLeases[tuple[str, int]] = ExpiredLeases(lease_s)
        self._starting: ExpiredLeases[tuple[str, int]] = ExpiredLeases(max(lease_s, START_S))

    def expect(self, name: str) -> int:
        """Expect heartbeats of a worker that is about to start, in place of those of its predecessor.

        Returns:
            The descriptor that it writes to, to be closed here once it has been started.
        """
        self.forget(name)
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        self._pipes[name], self._signs[name] = reading, 0
        return writing

    def forget(self, name: str) -> None:
        """Expect no more heartbeats of a worker."""
        if name in self._pipes:
            os.close(self._pipes.pop(name))

    def silent(self) -> list[str]:
        """Return the workers without a heartbeat for a lease."""
        for name, pipe in self._pipes.items():
            with contextlib.suppress(BlockingIOError):
                self._signs[name] += len(os.read(pipe, 65_536))
        marks = [(name, self._signs[name]) for name in self._pipes]
        silent = [
            *self._started.after([mark for mark in marks if mark[1]]),
            *self._starting.after([mark for mark in marks if not mark[1]]),
        ]
        return [name for name, _ in silent]
