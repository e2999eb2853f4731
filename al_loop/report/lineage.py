"""The sequence of committees: what each round trained, and whether it was served."""

from collections.abc import Sequence
from dataclasses import dataclass

from al_loop.ledger import ModelRecord
from al_loop.records import RoundReport


@dataclass(frozen=True)
class Descent:
    """One trained committee.

    Attributes:
        model_id: content hash.
        round: the round that trained it.
        labels: number of training labels, None if not recorded.
        fate: the rounds in which it was served, or rejected and the model that was kept.
        served: it is the currently served model.
        reason: why it was promoted or not.
    """

    model_id: str
    round: int
    labels: int | None
    fate: str
    served: bool
    reason: str


def lineage(models: Sequence[ModelRecord], rounds: Sequence[RoundReport]) -> list[Descent]:
    """Return all committees in the order of the rounds, without the foundation."""
    reasons = {report.round: report.promotion_reason for report in rounds}
    promoted = sorted((m for m in models if m.served_since is not None), key=lambda m: m.served_since or 0)
    latest = promoted[-1].model_id if promoted else None
    return [
        Descent(
            model_id=model.model_id,
            round=model.round,
            labels=model.info.get("labels"),
            fate=_fate(model, promoted, decided=model.round in reasons),
            served=model.model_id == latest,
            reason=reasons.get(model.round, ""),
        )
        for model in models
    ]


def _fate(model: ModelRecord, promoted: Sequence[ModelRecord], *, decided: bool) -> str:
    if model.served_since is None:
        before = [m for m in promoted if (m.served_since or 0) <= model.round]
        stays = f"the model of round {before[-1].round}" if before else "the foundation"
        return f"rejected; {stays} stays" if decided else "not evaluated yet"
    after = [m for m in promoted if (m.served_since or 0) > model.served_since]
    until = f", replaced in round {after[0].served_since}" if after else ", served now"
    return f"promoted in round {model.served_since}{until}"
