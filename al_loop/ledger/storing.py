"""Store prepared frames in the database in blocks, without a query for each single frame."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from pymongo.errors import BulkWriteError

from al_loop.frames.codec import pack_atoms, unpack_entries
from al_loop.frames.own_entries import entries_as_text
from al_loop.ledger.additions import Additions, AdditionsLedger
from al_loop.ledger.base import chunks, now, raw
from al_loop.ledger.codec import get_blob, put_blobs
from al_loop.ledger.documents import CLAIMED, DONE, PENDING, Requester
from al_loop.ledger.frames import frame_document, inserted_by_others
from al_loop.ledger.label_documents import label_blobs, label_document
from al_loop.ledger.prepared import Prepared, blocks, in_stored_order
from al_loop.ledger.reconnect import in_parts, retry_on_disconnect
from al_loop.ledger.records import ClaimedRequest
from al_loop.ledger.requests import NEVER, RequestLedger
from al_loop.records import Frame, Role
from al_loop.utils.content_hash import request_id
from dft_interfaces.label import Label

WAITING: Final = -1
"""Round of frames and labels that no round has taken yet."""
IMPORTED: Final = "imported"  # instead of a claim's token

Stored = dict[str, dict[str, Any]]


class StoringLedger(RequestLedger, AdditionsLedger):
    """Documents from outside the rounds: built without the server, then stored together."""

    def prepare_frame(self, frame: Frame, order: int = 0) -> Prepared:
        """Return the documents of a frame from outside the rounds: with its label, or as a suspect without one.

        Args:
            frame: its label, if any, is converged and of this campaign's level of theory; a suspect has the role
                ``harvested``. The trajectory is its origin.
            order: index of a labelled frame.

        Raises:
            ValueError: a suspect has another role.
        """
        document = frame_document(self._docs.frame, frame.frame_id, frame.atoms)
        item = Prepared(document, {"atoms": pack_atoms(frame.atoms, frame.entries)}, frame.where)
        if frame.label is not None:
            self._add_label(item, frame, frame.label, order)
        elif frame.role is not Role.HARVESTED:
            raise ValueError(f"a visit has role {frame.role}, expected only {Role.HARVESTED}")
        else:
            item.visit = self._visit_document(WAITING, 0, Role.HARVESTED.value, frame, frame.verdict.atoms)
        return item

    def _add_label(self, item: Prepared, frame: Frame, label: Label, order: int) -> None:
        level, key = label.level_of_theory, request_id(frame.frame_id, label.level_of_theory)
        claimed = ClaimedRequest(key, frame.frame_id, frame.atoms, level, token=IMPORTED, attempt=0)
        document = label_document(self._docs.label, self.campaign, claimed, label)
        want = Requester(
            campaign=self.campaign,
            round=WAITING,
            role=Role.EXPLORE.value,
            order=order,
            system=frame.system,
            trajectory=frame.trajectory,
        )
        item.label, item.label_blobs = document, label_blobs(label)
        item.request = raw(
            self._docs.request,
            id=key,
            frame=frame.frame_id,
            level=level,
            wanted_by=[want],
            created_at=now(),
            order=order,
            state=DONE,
            lease_until=NEVER,
            label=document["_id"],
        )

    @in_parts
    def store_prepared(self, items: Iterable[Prepared], added: Additions) -> int:
        """Store prepared items that are not in the ledger.

        A request with a label keeps it; one that is waiting or being calculated gets this one. Requests of the campaign
        keep their round and role: held-out frames stay held out. A frame keeps its stored order of atoms and own
        entries, and a suspect that was added before is skipped.

        Returns:
            Number of frames that were stored before with other own entries.
        """
        return sum(self._store_block(block, added) for block in blocks(items))

    def harvested(self, frame_ids: Iterable[str]) -> set[str]:
        """Those of some frames that were harvested before."""
        chosen = {"campaign": self.campaign, "role": Role.HARVESTED.value}
        visits = self._collection(self._docs.visit)
        return {
            found["frame"]
            for chunk in chunks(frame_ids)
            for found in visits.find({**chosen, "frame": {"$in": list(chunk)}}, {"frame": 1})
        }

    @retry_on_disconnect
    def _store_block(self, block: Sequence[Prepared], added: Additions) -> int:
        """Store a block; a repetition after a loss of the server finds the stored part and counts it as added."""
        known = self._put_frames(block, added)
        reordered = [in_stored_order(item, known[item.frame_id]) if item.frame_id in known else item for item in block]
        self._put_labels([item for item in reordered if item.label is not None], added)
        self._put_suspects([item for item in reordered if item.visit is not None], added)
        return sum(_with_other_entries(item, known) for item in block)

    def _put_frames(self, block: Sequence[Prepared], added: Additions) -> dict[str, dict[str, bytes]]:
        """Store unknown frames; returns the stored arrays of the known ones."""
        first: dict[str, Prepared] = {}
        for item in block:
            first.setdefault(item.frame_id, item)
        known = self._frame_blobs(first)
        new = [item for key, item in first.items() if key not in known]
        added.frames.update(item.frame_id for item in new)
        documents = [item.frame | self._put_blobs(item.frame_blobs, added) for item in new]
        others = self._insert(self._docs.frame, documents)
        added.frames -= others
        repeated = {
            item.frame_id: first[item.frame_id].frame_blobs for item in block if first[item.frame_id] is not item
        }
        return {**repeated, **known, **self._frame_blobs(others)}

    def _frame_blobs(self, ids: Collection[str]) -> dict[str, dict[str, bytes]]:
        files, frames = self._files(), self._collection(self._docs.frame)
        return {
            stored["_id"]: {"atoms": get_blob(files, stored, "atoms") or b""}
            for stored in frames.find({"_id": {"$in": list(ids)}}, {"atoms": 1, "atoms_file": 1})
        }

    def _put_labels(self, items: Sequence[Prepared], added: Additions) -> None:
        by_request = {_request(item)["_id"]: item for item in reversed(items)}
        known = self._requests(by_request)
        new = {key: item for key, item in by_request.items() if key not in known}
        self._put_label_documents(list(new.values()), added)
        added.requests.update(new)
        others = self._insert(self._docs.request, [_request(item) for item in new.values()])
        added.requests -= others
        for key, found in {**known, **self._requests(others)}.items():
            self._fulfil(found, by_request[key], added)

    def _requests(self, keys: Collection[str]) -> Stored:
        fields = {"state": 1, "label": 1, "wanted_by.campaign": 1}
        found = self._collection(self._docs.request).find({"_id": {"$in": list(keys)}}, fields)
        return {request["_id"]: request for request in found}

    def _fulfil(self, found: Mapping[str, Any], item: Prepared, added: Additions) -> None:
        """Give a request of any campaign its label, unless it has one, and add this campaign to its users."""
        requests, key = self._collection(self._docs.request), found["_id"]
        if found["state"] in {PENDING, CLAIMED}:
            self._put_label_documents([item], added)
            added.fulfilled[key] = dict(found)
            settled = {"state": DONE, "label": _request(item)["label"]}
            requests.update_one({"_id": key, "state": {"$in": [PENDING, CLAIMED]}}, {"$set": settled})
        if any(want["campaign"] == self.campaign for want in found["wanted_by"]):
            return
        (want,) = _request(item)["wanted_by"]
        free = {"_id": key, "state": DONE, "wanted_by.campaign": {"$ne": self.campaign}}
        if requests.update_one(free, {"$push": {"wanted_by": want}}).modified_count:
            added.shared.add(key)

    def _put_label_documents(self, items: Sequence[Prepared], added: Additions) -> None:
        """Store labels without a request yet; leftovers of a killed import are replaced."""
        documents = [{**(item.label or {}), **self._put_blobs(item.label_blobs, added)} for item in items]
        added.labels.update({document["_id"]: document["request"] for document in documents})
        left = self._insert(self._docs.label, documents)
        for document in documents:
            if document["_id"] in left:
                self._collection(self._docs.label).replace_one({"_id": document["_id"]}, document, upsert=True)

    def _put_suspects(self, items: Sequence[Prepared], added: Additions) -> None:
        visits = self._collection(self._docs.visit)
        known = self.harvested([item.frame_id for item in items]) if items else set()
        new = {item.frame_id: dict(item.visit or {}) for item in reversed(items) if item.frame_id not in known}
        if not new:
            return
        first = visits.count_documents({"campaign": self.campaign, "role": Role.HARVESTED.value})
        documents = list(reversed(new.values()))
        for order, document in enumerate(documents, start=first):
            document["order"] = order
        mine = {document["_id"] for document in documents}
        added.visits |= mine
        added.visits -= self._insert(self._docs.visit, documents)

    def _put_blobs(self, blobs: Mapping[str, bytes], added: Additions) -> dict[str, Any]:
        fields = put_blobs(self._files(), blobs)
        added.files += [held for name, held in fields.items() if name not in blobs]
        return fields

    def _insert(self, document: type[Any], new: Sequence[dict[str, Any]]) -> set[str]:
        """Insert documents; returns the ids of those that exist already, which are not changed."""
        if not new:
            return set()
        try:
            self._collection(document).insert_many(new, ordered=False)
        except BulkWriteError as error:
            return {new[index]["_id"] for index in inserted_by_others(error)}
        return set()


def _request(item: Prepared) -> dict[str, Any]:
    if item.request is None:
        raise ValueError(f"{item.where or item.frame_id} was prepared without a label")
    return item.request


def _with_other_entries(item: Prepared, known: Mapping[str, Mapping[str, bytes]]) -> bool:
    stored = known.get(item.frame_id)
    if stored is None or stored["atoms"] == item.frame_blobs["atoms"]:
        return False
    given = unpack_entries(item.frame_blobs["atoms"])
    return bool(given) and entries_as_text(given) != entries_as_text(unpack_entries(stored["atoms"]))
