"""Additions of one command to a ledger, all or nothing: recorded before they are written, removed after a failure."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId
from pymongo.errors import PyMongoError

from al_loop.errors import CampaignError
from al_loop.ledger.base import chunks
from al_loop.ledger.documents import CLAIMED, DONE, PENDING
from al_loop.ledger.garbage_collection import UnusedFilesLedger
from al_loop.ledger.reconnect import LOST
from al_loop.ledger.requests import RELEASED
from al_loop.utils.foreign_input import reason_of


@dataclass
class Additions:
    """Ids of new documents.

    Attributes:
        frames: structures.
        labels: label -> its request.
        requests: requests, each with its label.
        fulfilled: existing requests that got their label now -> their former state.
        shared: existing requests of other campaigns that this campaign uses now.
        visits: suspects.
        files: in GridFS.
        events: of the command.
    """

    frames: set[str] = field(default_factory=set)
    labels: dict[str, str] = field(default_factory=dict)
    requests: set[str] = field(default_factory=set)
    fulfilled: dict[str, dict[str, Any]] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)
    visits: set[str] = field(default_factory=set)
    files: list[ObjectId] = field(default_factory=list)
    events: list[ObjectId] = field(default_factory=list)

    @property
    def new_labels(self) -> int:
        """Number of labels that are new to this campaign."""
        return len(self.requests) + len(self.shared)


class AdditionsLedger(UnusedFilesLedger):
    """Removes additions of a failed command."""

    @contextmanager
    def all_or_nothing(self) -> Iterator[Additions]:
        """Remove the additions of the block if it fails.

        Additions that other campaigns use meanwhile stay: frames and labels that they refer to. A process that is
        killed or loses the server removes nothing.

        Raises:
            CampaignError: the server refused an operation.
        """
        added = Additions()
        try:
            yield added
        except LOST:
            raise
        except BaseException as error:
            try:
                self._remove(added)
            except PyMongoError as second:
                raise CampaignError(
                    f"The ledger refused the data ({reason_of(error)}), and the part that had been stored "
                    f"could not be removed ({reason_of(second)}). Repeat the command once the server works: it "
                    "completes the stored part"
                ) from error
            if isinstance(error, PyMongoError):
                raise CampaignError(
                    f"The ledger refused the data ({reason_of(error)}). The part that had been stored was "
                    "removed again: nothing was changed. Repeat the command once the server works"
                ) from error
            raise

    def _remove(self, added: Additions) -> None:
        self._remove_requests(added)
        self._remove_labels(added)
        self._delete(self._docs.visit, added.visits)
        self._delete(self._docs.frame, added.frames - self._referred_to(added.frames))
        self._delete(self._docs.event, added.events)
        for chunk in chunks(added.files):
            for file in self._without_document(chunk):
                self._files().delete(file)

    def _remove_requests(self, added: Additions) -> None:
        requests = self._collection(self._docs.request)
        for chunk in chunks(added.requests | added.shared):
            requests.update_many({"_id": {"$in": list(chunk)}}, {"$pull": {"wanted_by": {"campaign": self.campaign}}})
        for chunk in chunks(added.requests):
            requests.delete_many({"_id": {"$in": list(chunk)}, "wanted_by": []})
        label_of = {request: label for label, request in added.labels.items()}
        for key, before in added.fulfilled.items():
            mine = {"_id": key, "state": DONE, "label": label_of[key]}
            # A worker that was calculating it has already lost its claim.
            state = RELEASED if before["state"] == CLAIMED else {"state": PENDING}
            old = {"label": before["label"]} if "label" in before else {}
            change: dict[str, Any] = {"$set": state | old}
            if not old:
                change["$unset"] = {"label": ""}
            requests.update_one(mine, change)

    def _remove_labels(self, added: Additions) -> None:
        requests = self._collection(self._docs.request)
        for chunk in chunks(added.labels):
            mine = {"_id": {"$in": [added.labels[label] for label in chunk]}, "label": {"$in": list(chunk)}}
            used = {found["label"] for found in requests.find(mine, {"label": 1})}
            self._delete(self._docs.label, set(chunk) - used)

    def _referred_to(self, frames: Collection[str]) -> set[str]:
        """Frames that a visit, a request or a label of any campaign refers to."""
        return {
            found["frame"]
            for chunk in chunks(frames)
            for document in (self._docs.visit, self._docs.request, self._docs.label)
            for found in self._collection(document).find({"frame": {"$in": list(chunk)}}, {"frame": 1})
        }

    def _delete(self, document: type[Any], ids: Collection[Any]) -> None:
        for chunk in chunks(ids):
            self._collection(document).delete_many({"_id": {"$in": list(chunk)}})
