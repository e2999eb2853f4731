"""Frames and labels from outside the rounds: they wait in the ledger until a round takes them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ase import Atoms
from pymongo import UpdateOne

from al_loop.ids import matching_order, request_id
from al_loop.ledger.base import chunks, now, raw
from al_loop.ledger.blobs import drop_blobs
from al_loop.ledger.documents import CLAIMED, DONE, PENDING, Want
from al_loop.ledger.outcomes import checked, label_document
from al_loop.ledger.records import ClaimedRequest
from al_loop.ledger.requests import NEVER, RequestLedger
from al_loop.ledger.visits import turned
from al_loop.own_entries import OwnEntries
from al_loop.records import Role, VerdictKind, Visit
from dft_interfaces.label import Label, LabelStatus

WAITING: Final = -1
"""The round of what no round has taken yet."""
IMPORTED: Final = "imported"  # instead of a claim's token


@dataclass(frozen=True)
class Incoming:
    """How much has come from outside: harvested suspects, and labels to train on."""

    suspects: int
    labels: int


class IncomingLedger(RequestLedger):
    """What a production monitor harvested, and labels that were made elsewhere."""

    def add_harvested(self, visits: Sequence[Visit]) -> int:
        """Queue gated frames for the next round; what was given before, taken or not, is left as it is.

        Args:
            visits: with role ``harvested``; the trajectory says where they come from.

        Returns:
            How many of them are new.

        Raises:
            ValueError: a visit has another role.
        """
        strangers = sorted({visit.role for visit in visits} - {Role.HARVESTED})
        if strangers:
            raise ValueError(f"visits have roles {strangers}, expected only {Role.HARVESTED}")
        collection = self._collection(self._docs.visit)
        stored = self._store_frames(*_frames_and_entries(visits))
        first = collection.count_documents({"campaign": self.campaign, "role": Role.HARVESTED.value})
        documents = [
            self._visit_document(WAITING, order, Role.HARVESTED.value, visit, turned(visit, stored[visit.frame_id]))
            for order, visit in enumerate(visits, start=first)
        ]
        new = 0
        for chunk in chunks(UpdateOne({"_id": d["_id"]}, {"$setOnInsert": d}, upsert=True) for d in documents):
            new += int(collection.bulk_write(list(chunk), ordered=True).upserted_count)
        return new

    def add_labels(self, visits: Sequence[Visit], labels: Sequence[Label]) -> int:
        """Take in labels of this campaign's level of theory that were made elsewhere, to be trained on.

        A request that has its label keeps it; one that is waiting or being calculated is answered by this one. What the
        campaign has asked for keeps its round and role: what is held out stays held out. A label that could not be
        trained on is not taken in.

        Args:
            visits: the frames, stored if they are unknown, with the atoms in the order of the labels.
            labels: one for each.

        Returns:
            How many frames are new to this campaign.
        """
        stored = self._store_frames(*_frames_and_entries(visits))
        new = 0
        for order, (visit, given) in enumerate(zip(visits, labels, strict=True)):
            level, key = given.level_of_theory, request_id(visit.frame_id, given.level_of_theory)
            claimed = ClaimedRequest(key, visit.frame_id, visit.atoms, level, token=IMPORTED, attempt=0)
            if (label := checked(given, claimed)).status is not LabelStatus.CONVERGED:
                continue
            label = _reordered(label, visit.atoms, stored[visit.frame_id])
            outcome = label_document(self._docs.label, self._files(), self.campaign, claimed, label)
            new += self._answer(key, visit, order, outcome)
        return new

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

    def _answer(self, key: str, visit: Visit, order: int, outcome: dict[str, Any]) -> bool:
        """Make an outcome that of its request unless it has one; True if this campaign had not asked for it."""
        requests = self._collection(self._docs.request)
        settled = {"state": DONE, "label": outcome["_id"]}
        request = raw(
            self._docs.request(
                id=key,
                frame=visit.frame_id,
                level=outcome["level"],
                created_at=now(),
                order=order,
                lease_until=NEVER,
                **settled,
            )
        )
        request["wanted_by"] = []
        unused: dict[str, Any] | None = outcome  # an accepted label is never written over
        if requests.find_one({"_id": key, "state": DONE}) is None:
            labels = self._collection(self._docs.label)
            unused = labels.find_one_and_replace({"_id": outcome["_id"]}, outcome, upsert=True)
        drop_blobs(self._files(), unused or {})
        requests.update_one({"_id": key}, {"$setOnInsert": request}, upsert=True)
        requests.update_one({"_id": key, "state": {"$in": [PENDING, CLAIMED]}}, {"$set": settled})
        want = Want(
            campaign=self.campaign,
            round=WAITING,
            role=Role.EXPLORE.value,
            order=order,
            system=visit.system,
            trajectory=visit.trajectory,
        )
        want.validate()
        asked = requests.update_one(
            {"_id": key, "state": DONE, "wanted_by.campaign": {"$ne": self.campaign}},
            {"$push": {"wanted_by": want.to_mongo().to_dict()}},
        )
        return bool(asked.modified_count)

    def _untaken_visits(self) -> dict[str, Any]:
        return {"campaign": self.campaign, "round": WAITING, "role": Role.HARVESTED.value}

    def _untaken_labels(self) -> dict[str, Any]:
        return {"wanted_by": {"$elemMatch": {"campaign": self.campaign, "round": WAITING}}, "state": DONE}


def _frames_and_entries(visits: Sequence[Visit]) -> tuple[dict[str, Atoms], dict[str, OwnEntries]]:
    """The first of each frame, with its own entries: they are in the order of its atoms."""
    first: dict[str, Visit] = {}
    for visit in visits:
        first.setdefault(visit.frame_id, visit)
    return {key: visit.atoms for key, visit in first.items()}, {key: visit.entries for key, visit in first.items()}


def _reordered(label: Label, given: Atoms, stored: Atoms) -> Label:
    """The label with its atoms in the stored order."""
    if stored is given:
        return label
    order = matching_order(given, stored)
    forces, moments = label.forces_eV_per_A, label.magnetic_moments_uB
    return replace(
        label,
        forces_eV_per_A=None if forces is None else forces[order],
        magnetic_moments_uB=None if moments is None else moments[order],
    )
