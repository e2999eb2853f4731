"""Labels with their frames."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from ase import Atoms
from pymongo import UpdateOne

from al_loop.ledger.base import chunks
from al_loop.ledger.codec import from_row
from al_loop.ledger.documents import DONE, FAILED
from al_loop.ledger.label_documents import read_label
from al_loop.ledger.requests import RequestLedger
from al_loop.records import LabelledFrame, LabelOrigin, Role
from al_loop.utils.content_hash import request_id
from dft_interfaces.label import Failure, Label
from dft_interfaces.label_check import Flaw, rejected


class LabelLedger(RequestLedger):
    """Outcomes of requests."""

    def labelled(
        self,
        roles: Collection[Role],
        rounds: Collection[int] | None = None,
        *,
        converged_only: bool = True,
        with_outliers: bool = False,
    ) -> list[LabelledFrame]:
        """Frames with their outcomes, by round, role and order of the requests.

        Labels that ``mark_outliers`` marked are returned as rejected.

        Args:
            roles: of the requests.
            rounds: of the requests; all by default.
            converged_only: leave out calculations without a usable label.
            with_outliers: outliers as they were calculated.
        """
        chosen: dict[str, Any] = {"campaign": self.campaign, "role": {"$in": [role.value for role in roles]}}
        if rounds is not None:
            chosen["round"] = {"$in": list(rounds)}
        states = [DONE] if converged_only else [DONE, FAILED]
        requests = list(
            self._docs.request.objects(__raw__={"wanted_by": {"$elemMatch": chosen}, "state": {"$in": states}})
        )
        atoms = self.frames(request.frame for request in requests)
        labels = self._labels([request.label for request in requests])
        found = [(_want(request, self.campaign), request) for request in requests]
        found.sort(key=lambda pair: (pair[0].round, pair[0].role, pair[0].order, pair[1].frame))

        def ended_frame(want: Any, request: Any) -> LabelledFrame:
            label = labels[request.label]
            return LabelledFrame(
                frame_id=request.frame,
                atoms=atoms[request.frame],
                role=Role(want.role),
                round=want.round,
                system=want.system,
                trajectory=want.trajectory,
                label=label if with_outliers else _as_marked(label, want.outlier),
            )

        ended = [from_row("request", request.id, partial(ended_frame, want, request)) for want, request in found]
        return [frame for frame in ended if frame.converged or not converged_only]

    def ended_and_open(self, rounds: Collection[int]) -> tuple[list[LabelledFrame], int]:
        """Consistent outcomes of some rounds and number of requests without one, although workers run meanwhile."""
        while True:
            still_open = self.open_requests()
            ended = self.labelled(tuple(Role), rounds, converged_only=False)
            if self.open_requests() == still_open:  # only the caller adds requests
                return ended, still_open

    def accepted(self, frame_ids: Collection[str], level: str) -> dict[str, tuple[Atoms, Label]]:
        """Accepted labels of frames at a level of theory, requested by any campaign.

        Returns:
            Frame id -> structure and label, atoms in the stored order; frames without a label are left out.
        """
        found: dict[str, str] = {}
        for chunk in chunks([request_id(frame, level) for frame in frame_ids]):
            chosen = {"_id": {"$in": list(chunk)}, "state": DONE}
            for stored in self._collection(self._docs.request).find(chosen, {"frame": 1, "label": 1}):
                found[stored["frame"]] = stored["label"]
        atoms, labels = self.frames(found), self._labels(list(found.values()))
        return {frame: (atoms[frame], labels[label]) for frame, label in found.items()}

    def label_origins(self, rounds: Collection[int]) -> dict[str, LabelOrigin]:
        """Time and worker of the accepted labels of some rounds, by frame id."""
        requested = {"wanted_by": {"$elemMatch": {"campaign": self.campaign, "round": {"$in": list(rounds)}}}}
        requests = self._collection(self._docs.request).find(
            {**requested, "state": DONE}, {"frame": 1, "label": 1, "worker": 1}
        )
        found = {stored["label"]: stored for stored in requests}
        return {
            found[label["_id"]]["frame"]: LabelOrigin(label["created_at"], found[label["_id"]].get("worker") or "")
            for chunk in chunks(list(found))
            for label in self._collection(self._docs.label).find({"_id": {"$in": chunk}}, {"created_at": 1})
        }

    def mark_outliers(self, round_: int, reasons: Mapping[str, str]) -> None:
        """Mark the converged labels of a round that this campaign does not use, replacing earlier marks.

        Only changes are written, so that a reader never finds a known outlier without its mark.
        """
        requests = self._collection(self._docs.request)
        requested = {"wanted_by": {"$elemMatch": {"campaign": self.campaign, "round": round_}}}
        changes: list[UpdateOne] = []
        for stored in requests.find(requested, {"frame": 1, "wanted_by": 1}):
            marked = next(want.get("outlier") for want in stored["wanted_by"] if want["campaign"] == self.campaign)
            reason = reasons.get(stored["frame"])
            if marked != reason:
                change = {"$set" if reason else "$unset": {"wanted_by.$.outlier": reason}}
                changes.append(UpdateOne({"_id": stored["_id"], **requested}, change))
        if changes:
            requests.bulk_write(changes)

    def duplicate_executions(self) -> int:
        """Number of this campaign's calculations that ended after their lease was lost."""
        chosen = {"campaign": self.campaign, "superseded": True}
        return int(self._collection(self._docs.label).count_documents(chosen))

    def _labels(self, ids: Sequence[str]) -> dict[str, Label]:
        files, collection = self._files(), self._collection(self._docs.label)
        return {
            stored["_id"]: from_row("label", stored["_id"], partial(read_label, stored, files))
            for chunk in chunks(ids)
            for stored in collection.find({"_id": {"$in": chunk}})
        }


def _as_marked(label: Label, reason: str | None) -> Label:
    return rejected(label, Flaw(Failure.OUTLIER, reason)) if reason else label


def _want(request: Any, campaign: str) -> Any:
    return next(want for want in request.wanted_by if want.campaign == campaign)
