"""Detect expired leases with a local monotonic clock."""

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

Mark = TypeVar("Mark", bound=Hashable)  # a holder with its last heartbeat


class ExpiredLeases(Generic[Mark]):
    """Finds holders that have sent no heartbeat for the length of a lease, as observed by this process.

    Time counts only between two calls, and of a long gap only a part: while the database is away or this process is
    busy, no heartbeat is observed. Clocks of other machines and jumps of wall clocks have no influence.

    Args:
        lease_s: length of a lease, s.
        clock: monotonic, in seconds.
    """

    def __init__(self, lease_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease_s = lease_s
        self._clock = clock
        self._last_call = clock()
        self._idle_s: dict[Mark, float] = {}

    def after(self, holders: Sequence[Mark]) -> list[Mark]:
        """Return those of the current holders whose lease has expired."""
        now = self._clock()
        passed_s, self._last_call = min(now - self._last_call, self._lease_s / 4), now
        self._idle_s = {
            holder: self._idle_s[holder] + passed_s if holder in self._idle_s else 0.0 for holder in holders
        }
        return [holder for holder, idle_s in self._idle_s.items() if idle_s >= self._lease_s]
