"""Verdicts along trajectories, without the structures they are about."""

from al_loop.ledger.base import LedgerBase
from al_loop.records import Role, VerdictKind


class GatedLedger(LedgerBase):
    """What the gate said, when."""

    def verdicts(self, round_: int, role: Role) -> list[tuple[str, int, VerdictKind]]:
        """Trajectory, MD step and verdict of every visit of a round, in the order they were met."""
        found = self._collection(self._docs.visit).find(
            {"campaign": self.campaign, "round": round_, "role": role.value},
            {"trajectory": 1, "step": 1, "kind": 1},
        )
        return [
            (visit["trajectory"], int(visit["step"]), VerdictKind(visit["kind"])) for visit in found.sort("order", 1)
        ]
