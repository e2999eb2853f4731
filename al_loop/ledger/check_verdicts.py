"""The verdicts of the single checks of a visit, as stored in its document."""

from collections.abc import Mapping

from al_loop.ledger.documents import StoredVerdict
from al_loop.records import Lane, LaneVerdict, VerdictKind

LONGEST_REASON = 300  # letters


def packed_lanes(lanes: Mapping[Lane, LaneVerdict]) -> dict[str, StoredVerdict]:
    """Check -> kind and reason; reasons are cut to ``LONGEST_REASON``, so that a document's size is bounded."""
    return {
        lane.value: StoredVerdict(kind=one.kind.value, reason=one.reason[:LONGEST_REASON])
        for lane, one in lanes.items()
    }


def unpacked_lanes(stored: Mapping[str, StoredVerdict] | None) -> dict[Lane, LaneVerdict]:
    """The inverse of ``packed_lanes``."""
    return {Lane(lane): LaneVerdict(VerdictKind(one.kind), one.reason or "") for lane, one in (stored or {}).items()}
