"""The campaign and its rounds: what is done."""

import re
from typing import Any

from al_loop.ledger.base import LedgerBase, now
from al_loop.ledger.codec import pack_json, unpack_json
from al_loop.ledger.documents import SCHEMA_VERSION, Stage


class RoundLedger(LedgerBase):
    """Configuration and finished stages."""

    def start_campaign(self, config: dict[str, Any]) -> None:
        """Store the campaign and its configuration (JSON); does nothing if it is stored already."""
        self._docs.campaign.objects(id=self.campaign).update_one(
            set_on_insert__config=pack_json(config),
            set_on_insert__created_at=now(),
            set_on_insert__schema_version=SCHEMA_VERSION,
            upsert=True,
        )

    def campaign_config(self) -> dict[str, Any] | None:
        """The configuration the campaign was started with, None if it was not."""
        stored = self._docs.campaign.objects(id=self.campaign).first()
        return None if stored is None else unpack_json(stored.config)

    def campaigns(self) -> dict[str, dict[str, Any]]:
        """Every campaign of the database that was started, by name, with the configuration it was started with."""
        return {stored.id: unpack_json(stored.config) for stored in self._docs.campaign.objects if stored.config}

    def finish_stage(self, round_: int, stage: str, seconds: float, results: dict[str, Any]) -> None:
        """Write that a stage is done, after everything else it writes.

        Args:
            round_: the round.
            stage: a name of letters, digits, - and _.
            seconds: its wall time.
            results: JSON.
        """
        if not re.fullmatch(r"[A-Za-z0-9_-]+", stage):
            raise ValueError(f"the name of a stage holds letters, digits, - and _, received {stage!r}")
        done = Stage(seconds=seconds, results=pack_json(results), finished_at=now())
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
        """What a finished stage came to, None if it is not done."""
        stored = self._stages(round_).get(stage)
        return None if stored is None else unpack_json(stored.results)

    def stages(self, round_: int) -> dict[str, dict[str, Any]]:
        """Finished stages in the order they were finished: ``seconds`` (float), ``results`` (JSON)."""
        by_time = sorted(self._stages(round_).items(), key=lambda item: item[1].finished_at)
        return {name: {"seconds": stage.seconds, "results": unpack_json(stage.results)} for name, stage in by_time}

    def rounds(self) -> list[int]:
        """Rounds with at least one finished stage, ascending."""
        return [
            stored.round for stored in self._docs.round.objects(campaign=self.campaign).order_by("round").only("round")
        ]

    def _stages(self, round_: int) -> dict[str, Stage]:
        stored = self._docs.round.objects(id=f"{self.campaign}/{round_}").first()
        return {} if stored is None else dict(stored.stages)
