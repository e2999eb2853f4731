"""Label requests: stored once, claimed by one worker at a time, fulfilled once."""

import re
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pymongo import ReturnDocument, UpdateOne

from al_loop.ledger.base import chunks, now, raw
from al_loop.ledger.codec import drop_blobs, put_blobs
from al_loop.ledger.documents import CLAIMED, DONE, FAILED, PENDING, Requester
from al_loop.ledger.label_documents import checked, label_blobs, label_document
from al_loop.ledger.reconnect import in_parts, retry_on_disconnect
from al_loop.ledger.records import ClaimedRequest, Holder
from al_loop.ledger.visits import VisitLedger
from al_loop.records import Frame, Role
from al_loop.utils.content_hash import request_id
from dft_interfaces.label import Failure, Label, LabelStatus

MAX_ATTEMPTS: Final = 3
NEVER: Final = datetime.fromtimestamp(0, UTC)
RELEASED: Final[dict[str, Any]] = {"state": PENDING, "lease_until": NEVER, "token": None}
_UNCOUNTED: Final[dict[str, Any]] = {"attempts": {"$subtract": ["$attempts", 1]}}


class RequestLedger(VisitLedger):
    """Requests, from their creation to their outcome."""

    def request_labels(self, round_: int, role: Role, visits: Sequence[Frame], level: str) -> None:
        """Request labels of frames that ``replace_visits`` has stored; repeated calls change nothing.

        There is one request for each frame and level of theory over all campaigns, so that labels of other campaigns
        are used. Within a campaign a frame keeps the round and role of its first request: a held-out frame is never
        trained on, and the other way round.
        """
        requested_at = now()
        updates: list[UpdateOne] = []
        for order, visit in enumerate(visits):
            key = request_id(visit.frame_id, level)
            document = raw(
                self._docs.request,
                id=key,
                frame=visit.frame_id,
                level=level,
                created_at=requested_at,
                order=order,
                state=PENDING,
                lease_until=NEVER,
            )
            document["wanted_by"] = []
            want = Requester(
                campaign=self.campaign,
                round=round_,
                role=role.value,
                order=order,
                system=visit.system,
                trajectory=visit.trajectory,
            )
            want.validate()
            updates += (
                UpdateOne({"_id": key}, {"$setOnInsert": document}, upsert=True),
                UpdateOne(
                    {"_id": key, "wanted_by.campaign": {"$ne": self.campaign}},
                    {"$push": {"wanted_by": want.to_mongo().to_dict()}},
                ),
            )
        collection = self._collection(self._docs.request)
        for chunk in chunks(updates):
            collection.bulk_write(list(chunk))

    @in_parts
    def claim(self, worker: str, level: str, lease_s: float, max_attempts: int = MAX_ATTEMPTS) -> ClaimedRequest | None:
        """Claim the oldest free request of this campaign, None if there is none.

        A request whose workers died ``max_attempts`` times is recorded as failed. Claims do not expire by a clock:
        workers without heartbeat are found with ``holders``, and ``take_back`` releases their requests.

        Args:
            worker: name of the worker.
            level: fingerprint of the level of theory that the worker calculates.
            lease_s: length of the lease; every ``heartbeat`` moves its end.
            max_attempts: maximum number of attempts of a request.
        """
        while (taken := self._take(worker, level, lease_s, uuid.uuid4().hex)) is not None:
            claimed = ClaimedRequest(
                request_id=taken["_id"],
                frame_id=taken["frame"],
                atoms=self.frames([taken["frame"]])[taken["frame"]],
                level=level,
                token=taken["token"],
                attempt=taken["attempts"],
            )
            if self._adopt_finished(claimed):
                continue
            if claimed.attempt <= max_attempts:
                return claimed
            message = (
                f"failed: its workers died in {max_attempts} attempts, the last one was {taken['previous_worker']}"
            )
            self.complete(claimed, Label(LabelStatus.FAILED, level, message=message, failure=Failure.CRASH))
        return None

    def heartbeat(self, claimed: ClaimedRequest, lease_s: float) -> bool:
        """Renew a lease; False if another worker has taken the request over."""
        renewed = self._collection(self._docs.request).update_one(
            _held(claimed), [{"$set": {"lease_until": _lease_end(lease_s)}}]
        )
        return bool(renewed.matched_count)

    def complete(self, claimed: ClaimedRequest, label: Label) -> bool:
        """Write the outcome of a claimed request, a label or a failure.

        A converged label with non-finite numbers, a wrong number of atoms or another level of theory is recorded as
        rejected.

        Returns:
            Whether it became the outcome of the request: False if the lease had been taken over; then it is kept and
            used only if the other worker dies.
        """
        files, labels = self._files(), self._collection(self._docs.label)
        label = checked(label, claimed)
        document = label_document(self._docs.label, self.campaign, claimed, label)
        document |= put_blobs(files, label_blobs(label))
        earlier = labels.find_one_and_replace({"_id": document["_id"]}, document, upsert=True)
        drop_blobs(files, earlier or {})
        if self._settle(claimed, document):
            return True
        # The server's reply to an earlier call may have been lost.
        if self._collection(self._docs.request).find_one({"_id": claimed.request_id, "label": document["_id"]}):
            return True
        labels.update_one({"_id": document["_id"]}, {"$set": {"superseded": True}})
        return False

    def release_dead(self, worker: str, *, count_attempt: bool = False) -> int:
        """Release the requests of dead workers of this campaign, without waiting for their leases.

        Args:
            worker: name of the dead worker; ``worker`` includes ``worker-0`` and ``worker-0-17``, ``worker-1`` not
                ``worker-10``.
            count_attempt: count the attempt, since the request may have killed its worker; of several requests of one
                worker none is counted, since the others would fail with it. False if the whole campaign was killed.

        Returns:
            Number of released requests.
        """
        name = re.escape(self._worker(worker))
        chosen = {
            "wanted_by.campaign": self.campaign,
            "state": CLAIMED,
            "worker": {"$regex": f"^{name}(-|$)"},
        }
        requests = self._collection(self._docs.request)
        held = list(requests.find(chosen, {"worker": 1}))
        shares = Counter(request["worker"] for request in held)
        suspected = [request["_id"] for request in held if count_attempt and shares[request["worker"]] == 1]
        counted = requests.update_many({**chosen, "_id": {"$in": suspected}}, [{"$set": RELEASED}])
        others = requests.update_many({**chosen, "_id": {"$nin": suspected}}, [{"$set": RELEASED | _UNCOUNTED}])
        return int(counted.modified_count + others.modified_count)

    def open_requests(self, round_: int | None = None) -> int:
        """Number of this campaign's requests without an outcome."""
        want: dict[str, Any] = {"campaign": self.campaign}
        if round_ is not None:
            want["round"] = round_
        chosen = {"wanted_by": {"$elemMatch": want}, "state": {"$in": [PENDING, CLAIMED]}}
        return int(self._collection(self._docs.request).count_documents(chosen))

    def requested(self, round_: int, role: Role) -> list[str]:
        """Frames that a round has requested in a role, or that were deferred to it, with any outcome."""
        want = {"campaign": self.campaign, "round": round_, "role": role.value}
        found = self._collection(self._docs.request).find({"wanted_by": {"$elemMatch": want}}, {"frame": 1})
        return sorted(request["frame"] for request in found)

    def open_by_role(self, round_: int) -> dict[Role, tuple[int, int]]:
        """Number of requests of a round without an outcome, and of all its requests, for each role."""
        want = {"campaign": self.campaign, "round": round_}
        is_open = {"$cond": [{"$in": ["$state", [PENDING, CLAIMED]]}, 1, 0]}
        grouped = self._collection(self._docs.request).aggregate(
            [
                {"$match": {"wanted_by": {"$elemMatch": want}}},
                {"$unwind": "$wanted_by"},
                {"$match": {f"wanted_by.{key}": value for key, value in want.items()}},
                {"$group": {"_id": "$wanted_by.role", "open": {"$sum": is_open}, "all": {"$sum": 1}}},
            ]
        )
        return {Role(group["_id"]): (int(group["open"]), int(group["all"])) for group in grouped}

    def defer(self, round_: int) -> None:
        """Move the requests of this round without an outcome to the next round."""
        want = {"campaign": self.campaign, "round": round_}
        self._collection(self._docs.request).update_many(
            {"wanted_by": {"$elemMatch": want}, "state": {"$in": [PENDING, CLAIMED]}},
            {"$set": {"wanted_by.$.round": round_ + 1}},
        )

    def holders(self) -> list[Holder]:
        """Holders of this campaign's claimed requests, each with its last heartbeat."""
        held = self._collection(self._docs.request).find(
            {"wanted_by.campaign": self.campaign, "state": CLAIMED}, {"token": 1, "lease_until": 1, "worker": 1}
        )
        return [Holder(*(request[key] for key in ("_id", "token", "lease_until", "worker"))) for request in held]

    def take_back(self, holder: Holder, *, count_attempt: bool = True) -> bool:
        """Release a request whose holder has sent no heartbeat since.

        Args:
            holder: with its last heartbeat.
            count_attempt: count the attempt, since the request may have killed its worker.
        """
        chosen = {"_id": holder.request_id, "token": holder.token, "lease_until": holder.beat, "state": CLAIMED}
        released = RELEASED if count_attempt else RELEASED | _UNCOUNTED
        return bool(self._collection(self._docs.request).update_one(chosen, [{"$set": released}]).modified_count)

    @retry_on_disconnect
    def _take(self, worker: str, level: str, lease_s: float, token: str) -> dict[str, Any] | None:
        """Claim with a token; if the reply to an earlier call was lost, its claim is found again."""
        name = self._worker(worker)
        requests = self._collection(self._docs.request)
        mine = {"wanted_by.campaign": self.campaign, "state": CLAIMED, "token": token}
        if (found := requests.find_one(mine)) is not None:
            return dict(found)
        free = {"level": level, "wanted_by.campaign": self.campaign, "state": PENDING}
        take = {
            "state": CLAIMED,
            "previous_worker": "$worker",
            "worker": {"$literal": name},
            "token": token,
            "attempts": {"$add": ["$attempts", 1]},
            "lease_until": _lease_end(lease_s),
        }
        taken: dict[str, Any] | None = requests.find_one_and_update(
            free, [{"$set": take}], sort=[("created_at", 1), ("order", 1)], return_document=ReturnDocument.AFTER
        )
        return taken

    @retry_on_disconnect
    def _adopt_finished(self, claimed: ClaimedRequest) -> bool:
        """Use a label that was written before its worker died or lost its lease."""
        labels = self._collection(self._docs.label)
        finished = labels.find_one({"request": claimed.request_id, "status": LabelStatus.CONVERGED.value})
        if finished is None or not self._settle(claimed, finished):
            return False
        labels.update_one({"_id": finished["_id"]}, {"$set": {"superseded": False}})
        return True

    def _settle(self, claimed: ClaimedRequest, label: dict[str, Any]) -> bool:
        """Set the request's outcome, if the request is still held with this token."""
        state = DONE if label["status"] == LabelStatus.CONVERGED else FAILED
        settled = self._collection(self._docs.request).update_one(
            _held(claimed), {"$set": {"state": state, "label": label["_id"]}}
        )
        return bool(settled.matched_count)

    def _worker(self, name: str) -> str:
        """Full name of a worker, since workers of different campaigns may have the same name."""
        return f"{self.campaign}/{name}"


def _held(claimed: ClaimedRequest) -> dict[str, Any]:
    return {"_id": claimed.request_id, "token": claimed.token, "state": CLAIMED}


def _lease_end(lease_s: float) -> dict[str, Any]:
    return {"$add": ["$$NOW", round(1000 * lease_s)]}
