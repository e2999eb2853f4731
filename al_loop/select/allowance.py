"""How many labels one choice may ask for, and of what kind."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

from al_loop.config import SelectSettings

AUDIT, UNPHYSICAL, FARTHEST_POINT, REPRESENTATIVE = "audit", "unphysical", "farthest point", "representative"


@dataclass(frozen=True)
class Allowance:
    """What may be spent.

    Attributes:
        labels: at most so many.
        unphysical: of these, frames that are unphysical but computable.
        audit_of: labels of which the audit's share is drawn.
        audited: the audit is drawn from these frames; None for all.
    """

    labels: int
    unphysical: int
    audit_of: float
    audited: Collection[str] | None = None

    @classmethod
    def of(
        cls,
        settings: SelectSettings,
        budget: int,
        spent: Mapping[str, int],
        portion: int = 0,
        portions: int = 1,
        audited: Collection[str] | None = None,
    ) -> Self:
        """An equal share of a round's budget and quota, and what the shares before have left of theirs.

        Args:
            settings: the quota.
            budget: labels of the round.
            spent: reason -> number of labels that the portions before have asked for.
            portion: number of the portion, from 0.
            portions: how many there are.
            audited: frames that this portion has met; each is drawn for an audit with the same chance.
        """

        def due(total: int) -> int:
            return total * (portion + 1) // portions

        return cls(
            labels=max(0, due(budget) - sum(spent.values())),
            unphysical=max(0, due(settings.unphysical_quota) - spent.get(UNPHYSICAL, 0)),
            audit_of=budget / portions,
            audited=audited,
        )
