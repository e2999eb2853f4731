"""The campaign: its configuration, ids, the lease of the process that runs it, and finished stages of its rounds."""

import re
import uuid
from contextlib import suppress
from functools import partial
from typing import Any, Final

import pymongo
from pymongo.errors import DuplicateKeyError

from al_loop.ledger.base import FORMAT, LedgerBase, now
from al_loop.ledger.codec import from_row, pack_json, unpack_json
from al_loop.ledger.documents import SCHEMA_VERSION, Stage
from al_loop.ledger.reconnect import in_parts
from al_loop.ledger.records import Runner

RESULTS_BYTES: Final = 2**20  # of one stage


class RoundLedger(LedgerBase):
    """Configuration and finished stages."""

    def start_campaign(self, config: dict[str, Any], campaign_id: str | None = None) -> None:
        """Store the campaign, its configuration (JSON) and its id; does nothing if it exists.

        Args:
            config: configuration at the start.
            campaign_id: distinguishes it from others of the same name; random by default.
        """
        self._docs.campaign.objects(id=self.campaign).update_one(
            set_on_insert__campaign_id=campaign_id or uuid.uuid4().hex,
            set_on_insert__config=pack_json(config),
            set_on_insert__created_at=now(),
            set_on_insert__schema_version=SCHEMA_VERSION,
            upsert=True,
        )

    def campaign_config(self) -> dict[str, Any] | None:
        """The configuration at the start of the campaign, None if it was not started."""
        stored = self._docs.campaign.objects(id=self.campaign).first()
        return None if stored is None else from_row("campaign", stored.id, lambda: unpack_json(stored.config))

    def campaigns(self) -> dict[str, dict[str, Any]]:
        """The started campaigns of the database, by name, with the configuration at their start."""
        return {stored.id: unpack_json(stored.config) for stored in self._docs.campaign.objects if stored.config}

    def finish_stage(self, round_: int, stage: str, seconds: float, results: dict[str, Any]) -> None:
        """Record that a stage is finished, after all its other writes.

        Args:
            round_: the round.
            stage: a name of letters, digits, - and _.
            seconds: its wall time.
            results: JSON, at most 1 MB: all stages of a round share one document.

        Raises:
            ValueError: the stage's name has other characters.
            CampaignError: the results are too large.
        """
        if not re.fullmatch(r"[A-Za-z0-9_-]+", stage):
            raise ValueError(f"the name of a stage holds letters, digits, - and _, received {stage!r}")
        done = Stage(seconds=seconds, results=pack_json(results, RESULTS_BYTES), finished_at=now())
        done.validate()
        self._collection(self._docs.round).update_one(
            {"_id": f"{self.campaign}/{round_}"},
            {
                "$set": {f"stages.{stage}": done.to_mongo().to_dict()},
                "$setOnInsert": {"campaign": self.campaign, "round": round_, "schema_version": SCHEMA_VERSION},
            },
            upsert=True,
        )

    def stage_results(self, round_: int, stage: str) -> dict[str, Any] | None:
        """Results of a finished stage, None if it is not finished."""
        stored = self._stages(round_).get(stage)
        return None if stored is None else from_row("round", round_, lambda: unpack_json(stored.results))

    def stages(self, round_: int) -> dict[str, dict[str, Any]]:
        """Finished stages in the order they were finished: ``seconds`` (float), ``results`` (JSON)."""
        by_time = sorted(self._stages(round_).items(), key=lambda item: item[1].finished_at)

        def as_plain(stage: Stage) -> dict[str, Any]:
            return {"seconds": stage.seconds, "results": unpack_json(stage.results)}

        return {name: from_row("round", round_, partial(as_plain, stage)) for name, stage in by_time}

    def progress(self, stage: str) -> dict[int, dict[str, dict[str, Any] | None]]:
        """Round -> finished stages in the order they were finished; the results of ``stage`` only, None for others.

        It is one query, so that a reader sees each round either before or after the end of a stage.
        """
        names = {
            "$map": {
                "input": {"$objectToArray": {"$ifNull": ["$stages", {}]}},
                "in": {"name": "$$this.k", "finished_at": "$$this.v.finished_at"},
            }
        }
        found = self._collection(self._docs.round).aggregate(
            [
                {"$match": {"campaign": self.campaign}},
                {"$sort": {"round": 1}},
                {"$project": {"round": 1, "results": f"$stages.{stage}.results", "stages": names}},
            ]
        )

        def finished(stored: dict[str, Any]) -> tuple[int, dict[str, dict[str, Any] | None]]:
            in_order = sorted(stored["stages"], key=lambda done: done["finished_at"])
            results = (unpack_json(stored["results"]) if done["name"] == stage else None for done in in_order)
            return stored["round"], dict(zip((done["name"] for done in in_order), results, strict=True))

        return dict(from_row("round", stored["_id"], partial(finished, stored)) for stored in found)

    def rounds(self) -> list[int]:
        """Rounds with at least one finished stage, ascending."""
        return [
            stored.round for stored in self._docs.round.objects(campaign=self.campaign).order_by("round").only("round")
        ]

    def _stages(self, round_: int) -> dict[str, Stage]:
        stored = self._docs.round.objects(id=f"{self.campaign}/{round_}").first()
        return {} if stored is None else dict(stored.stages)


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
