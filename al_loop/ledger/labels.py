"""Labels, read back with the frames they belong to."""

from collections.abc import Collection, Sequence
from typing import Any

from al_loop.ledger.base import chunks
from al_loop.ledger.documents import DONE, FAILED
from al_loop.ledger.outcomes import read_label
from al_loop.ledger.visits import VisitLedger
from al_loop.records import LabelledFrame, Role
from dft_interfaces.label import Label


class LabelLedger(VisitLedger):
    """Outcomes of requests."""

    def labelled(
        self, roles: Collection[Role], rounds: Collection[int] | None = None, *, converged_only: bool = True
    ) -> list[LabelledFrame]:
        """Frames with their outcome, by round, role and the order in which they were asked for.

        Args:
            roles: what they were asked for.
            rounds: which rounds asked; all by default.
            converged_only: without calculations that gave no label.
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
        return [
            LabelledFrame(
                frame_id=request.frame,
                atoms=atoms[request.frame],
                role=Role(want.role),
                round=want.round,
                system=want.system,
                trajectory=want.trajectory,
                label=labels[request.label],
            )
            for want, request in found
        ]

    def duplicate_executions(self) -> int:
        """How many calculations of this campaign came after their lease was lost."""
        chosen = {"campaign": self.campaign, "superseded": True}
        return int(self._collection(self._docs.label).count_documents(chosen))

    def _labels(self, ids: Sequence[str]) -> dict[str, Label]:
        return {
            document.id: read_label(document)
            for chunk in chunks(ids)
            for document in self._docs.label.objects(id__in=chunk)
        }


def _want(request: Any, campaign: str) -> Any:
    return next(want for want in request.wanted_by if want.campaign == campaign)
