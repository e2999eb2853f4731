"""Ids of the campaign and its database, and the lease of the process that runs it."""

import uuid
from contextlib import suppress
from typing import Any, Final

import pymongo
from pymongo.errors import DuplicateKeyError

from al_loop.ledger.base import FORMAT, LedgerBase
from al_loop.ledger.reconnect import in_parts
from al_loop.ledger.records import Runner

_DATABASE: Final = {"_id": "database"}
_TIMEOUT_S: Final = 5.0


class LeaseLedger(LedgerBase):
    """The campaign's id and its lease."""

    def database_id(self) -> str:
        """Return the random id of this database, which copies and dumps of it contain; create it if it is missing."""
        notes = self._database[FORMAT]
        while (found := notes.find_one(_DATABASE)) is None:
            with suppress(DuplicateKeyError):  # another process was faster
                notes.insert_one({**_DATABASE, "id": uuid.uuid4().hex})
        return str(found["id"])

    def noted_database_id(self) -> str | None:
        """Return the database's id, None if it has none; nothing is written."""
        found = self._database[FORMAT].find_one(_DATABASE)
        return None if found is None else str(found["id"])

    def campaign_id(self) -> str | None:
        """Return the campaign's random id, None before its start."""
        stored = self._docs.campaign.objects(id=self.campaign).only("campaign_id").first()
        return None if stored is None else stored.campaign_id

    def runner(self) -> Runner | None:
        """Return the process that runs the campaign or ran it last, None before its first start."""
        stored = self._docs.campaign.objects(id=self.campaign).only("runner").first()
        if stored is None or stored.runner is None:
            return None
        return Runner(**{name: getattr(stored.runner, name) for name in Runner.__dataclass_fields__})

    def take_lease(self, before: Runner | None, runner: Runner) -> bool:
        """Record the process that runs the campaign.

        Returns:
            False if another process was faster.
        """
        known = [None if before is None else before.token, runner.token]  # its own, if this call is repeated
        fields = {f"runner.{name}": getattr(runner, name) for name in Runner.__dataclass_fields__ if name != "beat"}
        found = {"_id": self.campaign, "runner.token": {"$in": known}}
        return self._set_runner(found, fields)

    @in_parts
    def renew_lease(self, token: str) -> bool:
        """Send a heartbeat; False if another process runs the campaign now. Does not wait for a lost database."""
        with pymongo.timeout(_TIMEOUT_S):
            return self._set_runner({"_id": self.campaign, "runner.token": token}, {"runner.running": True})

    @in_parts
    def release_lease(self, token: str) -> None:
        """Record that the process has ended, unless another one runs the campaign. Does not wait for a database."""
        with pymongo.timeout(_TIMEOUT_S):
            self._set_runner({"_id": self.campaign, "runner.token": token}, {"runner.running": False})

    def _set_runner(self, found: dict[str, Any], fields: dict[str, Any]) -> bool:
        update = {"$set": fields, "$currentDate": {"runner.beat": True}}
        return bool(self._collection(self._docs.campaign).update_one(found, update).matched_count)
