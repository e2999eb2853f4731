"""The requests that one worker holds, with their leases kept alive."""

import logging
import threading
from collections import Counter
from typing import Self

from al_loop.ledger import ClaimedRequest, Ledger
from al_loop.ledger.expired_leases import ExpiredLeases
from al_loop.ledger.records import Holder
from dft_interfaces.label import Label

logger = logging.getLogger(__name__)


class LabelLeases:
    """Takes requests from the ledger, renews their leases in a thread, and gives in their labels."""

    def __init__(self, ledger: Ledger, worker: str, level: str, lease_s: float) -> None:
        self._ledger = ledger
        self._worker = worker
        self._level = level
        self._lease_s = lease_s
        self._silence: ExpiredLeases[Holder] = ExpiredLeases(lease_s)
        self._held: dict[str, ClaimedRequest] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def __len__(self) -> int:
        return len(self._held)

    def take(self, most: int) -> list[ClaimedRequest]:
        """Claim up to ``most`` requests; fewer if no more are waiting."""
        taken: list[ClaimedRequest] = []
        while len(taken) < most and (claimed := self._claim()):
            self._held[claimed.request_id] = claimed
            taken.append(claimed)
            logger.info("claimed %s", claimed.request_id)
        return taken

    def _claim(self) -> ClaimedRequest | None:
        """Claim a free request, or one whose lease has expired."""
        if (claimed := self._waiting()) is not None:
            return claimed
        silent = self._silence.after([h for h in self._ledger.holders() if h.request_id not in self._held])
        shares = Counter(holder.worker for holder in silent)
        if not [h for h in silent if self._ledger.take_back(h, count_attempt=shares[h.worker] == 1)]:
            return None
        logger.info("%d requests were returned to the queue: their workers sent no heartbeat", len(silent))
        return self._waiting()

    def _waiting(self) -> ClaimedRequest | None:
        return self._ledger.claim(self._worker, self._level, self._lease_s)

    def complete(self, request_id: str, label: Label) -> None:
        """Write the outcome of a request; one of an earlier start stays in its file until it is claimed."""
        claimed = self._held.pop(request_id, None)
        if claimed is None:
            return
        kept = self._ledger.complete(claimed, label)
        logger.info("%s is %s%s", request_id, label.status, "" if kept else ", but the lease was lost")

    def _beat(self) -> None:
        while not self._done.wait(self._lease_s / 4):
            for claimed in list(self._held.values()):
                try:
                    self._ledger.heartbeat(claimed, self._lease_s)
                except Exception:  # a database that is away for a moment must not end a calculation
                    logger.exception("heartbeat failed")
