"""How many labels one choice may ask for, and of what kind."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

from al_loop.config import SelectSettings
from al_loop.records import UNPHYSICAL


@dataclass(frozen=True)
class SelectionBudget:
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
        batch: int = 0,
        batches: int = 1,
        audited: Collection[str] | None = None,
    ) -> Self:
        """An equal share of a round's budget and quota, and what the shares before have left of theirs.

        Args:
            settings: the quota.
            budget: labels of the round.
            spent: reason -> number of labels that the batches before have asked for.
            batch: number of the batch, from 0.
            batches: how many there are.
            audited: frames that this batch has met; each is drawn for an audit with the same chance.
        """

        def due(total: int) -> int:
            return total * (batch + 1) // batches

        return cls(
            labels=max(0, due(budget) - sum(spent.values())),
            unphysical=max(0, due(settings.unphysical_quota) - spent.get(UNPHYSICAL, 0)),
            audit_of=budget / batches,
            audited=audited,
        )
