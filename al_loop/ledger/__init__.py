"""The ledger: the single source of truth of a campaign, in MongoDB."""

from al_loop.ledger.records import ClaimedRequest, EventRecord, ModelRecord
from al_loop.ledger.store import Ledger, open_ledger

__all__ = ["ClaimedRequest", "EventRecord", "Ledger", "ModelRecord", "open_ledger"]
