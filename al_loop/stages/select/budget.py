"""How many labels one selection may request, and of which kind."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

from al_loop.config import SelectSettings
from al_loop.records import UNPHYSICAL


@dataclass(frozen=True)
class SelectionBudget:
    """Limits of one selection.

    Attributes:
        labels: maximum number of frames.
        unphysical: maximum number of these that are unphysical but computable.
        audit_of: number of labels that the audit's share refers to.
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
        """An equal share of a round's budget and quota, plus what earlier batches left of theirs.

        Args:
            settings: the quota.
            budget: labels of the round.
            spent: reason -> number of labels that earlier batches requested.
            batch: number of the batch, from 0.
            batches: number of batches.
            audited: frames of this batch; each has the same chance to be drawn for the audit.
        """

        def due(total: int) -> int:
            return total * (batch + 1) // batches

        return cls(
            labels=max(0, due(budget) - sum(spent.values())),
            unphysical=max(0, due(settings.unphysical_quota) - spent.get(UNPHYSICAL, 0)),
            audit_of=budget / batches,
            audited=audited,
        )
