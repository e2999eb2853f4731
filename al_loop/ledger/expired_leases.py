"""Workers that have fallen silent, told by nobody's wall clock."""

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

Mark = TypeVar("Mark", bound=Hashable)  # somebody with his last sign of life: it changes with every one


class ExpiredLeases(Generic[Mark]):
    """Notices who has shown no sign of life for the length of a lease, as this process has seen it.

    Time counts only between two looks, and of a long gap only a part: a database that was away, or a worker that was
    busy, looks at nobody's signs of life. Clocks of other machines, and wall clocks that jump, play no role.

    Args:
        lease_s: how long somebody must be silent, s.
        clock: seconds that never jump.
    """

    def __init__(self, lease_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease_s = lease_s
        self._clock = clock
        self._looked = clock()
        self._silent_s: dict[Mark, float] = {}

    def after(self, holders: Sequence[Mark]) -> list[Mark]:
        """Return those of the present holders who are silent for a lease by now."""
        now = self._clock()
        passed_s, self._looked = min(now - self._looked, self._lease_s / 4), now
        self._silent_s = {
            holder: self._silent_s[holder] + passed_s if holder in self._silent_s else 0.0 for holder in holders
        }
        return [holder for holder, silent_s in self._silent_s.items() if silent_s >= self._lease_s]
