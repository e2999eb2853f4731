"""Frames and labels from outside the rounds, which wait in the ledger until a round takes them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from al_loop.config import WatchSettings
from al_loop.ledger.documents import DONE
from al_loop.ledger.prepared import encoded
from al_loop.ledger.reconnect import in_parts
from al_loop.ledger.storing import WAITING, StoringLedger
from al_loop.records import Frame, Role, VerdictKind
from al_loop.utils.foreign_input import reading
from al_loop.utils.progress import Announce, show_nothing


@dataclass(frozen=True)
class Incoming:
    """Numbers of harvested suspects and imported labels from outside the rounds."""

    suspects: int
    labels: int


class IncomingLedger(StoringLedger):
    """Frames harvested by a monitor, and imported labels."""

    @in_parts
    def add_harvested(self, visits: Sequence[Frame]) -> int:
        """Queue gated frames for the next round, all or none; known frames stay as they are.

        Returns:
            Number of frames that are new as harvested ones.

        Raises:
            ValueError: a visit has another role.
            InputError: one of them cannot be stored.
            CampaignError: the server refused an operation.
        """
        items = [self.prepare_frame(visit) for visit in visits]
        for item in items:
            with reading(f"frame {item.frame_id}", "pass plain numbers and text"):
                encoded(item)
        with self.all_or_nothing() as added:
            self.store_prepared(items, added)
        return len(added.visits)

    def waiting(self) -> Incoming:
        """Numbers of suspects and labels that no round has taken yet."""
        suspects = {**self._untaken_visits(), "kind": VerdictKind.SUSPECT.value}
        return Incoming(
            suspects=int(self._collection(self._docs.visit).count_documents(suspects)),
            labels=int(self._collection(self._docs.request).count_documents(self._untaken_labels())),
        )

    def take_incoming(self, round_: int) -> Incoming:
        """Assign the waiting frames and labels to a round; may be repeated until the round has selected.

        Returns:
            Number of all harvested suspects of the round, and of the labels assigned now.
        """
        self._collection(self._docs.visit).update_many(self._untaken_visits(), {"$set": {"round": round_}})
        requests = self._collection(self._docs.request)
        taken = requests.update_many(self._untaken_labels(), {"$set": {"wanted_by.$.round": round_}})
        mine = {**self._untaken_visits(), "round": round_, "kind": VerdictKind.SUSPECT.value}
        return Incoming(int(self._collection(self._docs.visit).count_documents(mine)), int(taken.modified_count))

    def _untaken_visits(self) -> dict[str, Any]:
        return {"campaign": self.campaign, "round": WAITING, "role": Role.HARVESTED.value}

    def _untaken_labels(self) -> dict[str, Any]:
        return {"wanted_by": {"$elemMatch": {"campaign": self.campaign, "round": WAITING}}, "state": DONE}


class Watch:
    """Polls the ledger for new frames and labels.

    Args:
        settings: numbers of frames and labels that start a round, and the interval of polls.
        announce: called with a sentence when the waiting begins and when it ends.
    """

    def __init__(self, settings: WatchSettings, announce: Announce = show_nothing) -> None:
        self._settings = settings
        self._announce = announce

    def wait(self, ledger: IncomingLedger) -> bool:
        """Return True once there is enough for a round; False when Ctrl-C or SIGTERM ends the wait."""
        needed = self._settings
        self._announce(
            f"Watching for {needed.suspects} harvested suspects or {needed.labels} imported labels; Ctrl-C ends this."
        )
        try:
            while True:
                new = ledger.waiting()
                if new.suspects >= needed.suspects or new.labels >= needed.labels:
                    self._announce(f"{new.suspects} harvested suspects and {new.labels} imported labels have arrived.")
                    return True
                time.sleep(needed.every_s)
        except KeyboardInterrupt:
            self._announce("The watching has ended.")
            return False
