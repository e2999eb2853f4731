"""The verdicts of the single checks of a visit, as stored in its document."""

from collections.abc import Mapping

from al_loop.ledger.documents import StoredVerdict
from al_loop.records import CheckVerdict, GateCheck, VerdictKind

LONGEST_REASON = 300  # letters


def packed_checks(checks: Mapping[GateCheck, CheckVerdict]) -> dict[str, StoredVerdict]:
    """Check -> kind and reason; reasons are cut to ``LONGEST_REASON``, so that a document's size is bounded."""
    return {
        check.value: StoredVerdict(kind=one.kind.value, reason=one.reason[:LONGEST_REASON])
        for check, one in checks.items()
    }


def unpacked_checks(stored: Mapping[str, StoredVerdict] | None) -> dict[GateCheck, CheckVerdict]:
    """The inverse of ``packed_checks``."""
    return {
        GateCheck(check): CheckVerdict(VerdictKind(one.kind), one.reason or "") for check, one in (stored or {}).items()
    }
