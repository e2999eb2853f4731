"""Frames and labels from outside the rounds: they wait in the ledger until a round takes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from al_loop.ledger.additions import Additions
from al_loop.ledger.documents import DONE
from al_loop.ledger.prepared import Prepared, encoded
from al_loop.ledger.reconnect import in_parts
from al_loop.ledger.storing import WAITING, StoringLedger
from al_loop.records import Role, VerdictKind, Visit
from al_loop.utils.foreign_input import reading
from dft_interfaces.label import Label


@dataclass(frozen=True)
class Incoming:
    """How much has come from outside: harvested suspects, and labels to train on."""

    suspects: int
    labels: int


class IncomingLedger(StoringLedger):
    """What a production monitor harvested, and labels that were made elsewhere."""

    @in_parts
    def add_harvested(self, visits: Sequence[Visit]) -> int:
        """Queue gated frames for the next round, all or none; a frame that was given before is left as it is.

        Args:
            visits: with role ``harvested``; the trajectory says where they come from.

        Returns:
            How many of them are new, wherever they were met.

        Raises:
            ValueError: a visit has another role.
            InputError: one that cannot be stored.
            CampaignError: the server refused something.
        """
        return len(self._add([self.prepare_suspect(visit) for visit in visits]).visits)

    @in_parts
    def add_labels(self, visits: Sequence[Visit], labels: Sequence[Label]) -> int:
        """Take in labels that were made elsewhere, to be trained on, all or none; see ``store_prepared``.

        A label that could not be trained on is not taken in.

        Args:
            visits: the frames, stored if they are unknown, with the atoms in the order of the labels.
            labels: one for each, of this campaign's level of theory.

        Returns:
            How many frames are new to this campaign.

        Raises:
            InputError: one that cannot be stored.
            CampaignError: the server refused something.
        """
        given = enumerate(zip(visits, labels, strict=True))
        items = [self.prepare_label(visit, label, order) for order, (visit, label) in given]
        return self._add([item for item in items if item is not None]).new_labels

    def waiting(self) -> Incoming:
        """What no round has taken yet."""
        suspects = {**self._untaken_visits(), "kind": VerdictKind.SUSPECT.value}
        return Incoming(
            suspects=int(self._collection(self._docs.visit).count_documents(suspects)),
            labels=int(self._collection(self._docs.request).count_documents(self._untaken_labels())),
        )

    def take_incoming(self, round_: int) -> Incoming:
        """Give a round what is waiting; again, until it has chosen, with what has come since.

        Returns:
            All harvested suspects of the round, and the labels that it was given now.
        """
        self._collection(self._docs.visit).update_many(self._untaken_visits(), {"$set": {"round": round_}})
        requests = self._collection(self._docs.request)
        taken = requests.update_many(self._untaken_labels(), {"$set": {"wanted_by.$.round": round_}})
        mine = {**self._untaken_visits(), "round": round_, "kind": VerdictKind.SUSPECT.value}
        return Incoming(int(self._collection(self._docs.visit).count_documents(mine)), int(taken.modified_count))

    def _add(self, items: Sequence[Prepared]) -> Additions:
        for item in items:
            with reading(f"{item.where or 'frame'} {item.frame_id}", "hand in plain numbers and text"):
                encoded(item)
        with self.all_or_nothing() as added:
            self.store_prepared(items, added)
        return added

    def _untaken_visits(self) -> dict[str, Any]:
        return {"campaign": self.campaign, "round": WAITING, "role": Role.HARVESTED.value}

    def _untaken_labels(self) -> dict[str, Any]:
        return {"wanted_by": {"$elemMatch": {"campaign": self.campaign, "round": WAITING}}, "state": DONE}
