"""The verdicts of the single lanes of a visit, as they stand in its document."""

from collections.abc import Mapping

from al_loop.ledger.documents import LaneWord
from al_loop.records import Lane, LaneVerdict, VerdictKind

LONGEST_REASON = 300  # letters


def packed_lanes(lanes: Mapping[Lane, LaneVerdict]) -> dict[str, LaneWord]:
    """Lane -> kind and reason; a reason is cut to ``LONGEST_REASON``, so that a document's size is bounded."""
    return {
        lane.value: LaneWord(kind=word.kind.value, reason=word.reason[:LONGEST_REASON]) for lane, word in lanes.items()
    }


def unpacked_lanes(stored: Mapping[str, LaneWord] | None) -> dict[Lane, LaneVerdict]:
    """The inverse."""
    return {Lane(lane): LaneVerdict(VerdictKind(word.kind), word.reason or "") for lane, word in (stored or {}).items()}
