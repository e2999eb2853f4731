"""Workers elsewhere that hold requests of the campaign but send no heartbeat: each is logged once."""

import logging
import time
from collections import Counter
from collections.abc import Callable

from al_loop.ledger import Ledger
from al_loop.ledger.expired_leases import ExpiredLeases
from al_loop.ledger.records import Holder

_logger = logging.getLogger("al_loop")


class SilentHolders:
    """Log workers that this campaign did not start and that send no heartbeat.

    Args:
        ledger: with their heartbeats.
        lease_s: time without a heartbeat, s, after which a worker is logged.
        own: whether the campaign has started a worker of this name: those it watches and replaces itself.
    """

    def __init__(self, ledger: Ledger, lease_s: float, own: Callable[[str], bool]) -> None:
        self._ledger = ledger
        self._lease_s = lease_s
        self._own = own
        self._silence: ExpiredLeases[Holder] = ExpiredLeases(lease_s)
        self._look_at = time.monotonic()
        self._named: set[str] = set()

    def look(self) -> None:
        """Check the ledger a few times in each lease."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + self._lease_s / 8
        holders = {h: h.worker.rpartition("/")[2] for h in self._ledger.holders()}
        silent = self._silence.after([holder for holder, name in holders.items() if not self._own(name)])
        for name, held in Counter(holders[holder] for holder in silent).items():
            if name not in self._named:
                self._named.add(name)
                _logger.warning(
                    "worker %s, which this campaign did not start, holds %d request%s and has sent no heartbeat "
                    "for %g s (label.lease_s). A free worker takes over; if there is none, kill it on its "
                    "machine and start `al-loop worker` again, there or elsewhere.",
                    name,
                    held,
                    "" if held == 1 else "s",
                    self._lease_s,
                )
        self._named &= set(holders.values())
