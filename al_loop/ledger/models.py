"""Models, events and arrays."""

from collections.abc import Callable
from datetime import UTC
from functools import partial
from typing import Any

from bson import ObjectId
from gridfs.errors import CorruptGridFile, NoFile
from numpy.typing import NDArray

from al_loop.errors import InputError
from al_loop.frames.codec import pack_arrays, unpack_arrays
from al_loop.ledger.base import LedgerBase, now, raw
from al_loop.ledger.codec import from_row, pack_json, unpack_json
from al_loop.ledger.documents import SCHEMA_VERSION
from al_loop.ledger.records import EventRecord, ModelRecord
from al_loop.utils.content_hash import content_id
from al_loop.utils.foreign_input import reason_of

_READ_ATTEMPTS = 5


class ModelLedger(LedgerBase):
    """Records of trained models, and of the served one."""

    def add_model(self, round_: int, path: str, fingerprint: str, checkpoint: str, info: dict[str, Any]) -> str:
        """Record a trained committee; repeated calls replace ``checkpoint`` and ``info``.

        Returns:
            Its id, a content hash of campaign, round, path and fingerprint.
        """
        key = content_id("model", self.campaign, round_, path, fingerprint)
        self._docs.model.objects(id=key).update_one(
            set__campaign=self.campaign,
            set__round=round_,
            set__path=path,
            set__fingerprint=fingerprint,
            set__checkpoint=checkpoint,
            set__info=pack_json(info),
            set_on_insert__created_at=now(),
            set_on_insert__schema_version=SCHEMA_VERSION,
            upsert=True,
        )
        return key

    def serve_model(self, model_id: str, round_: int) -> None:
        """Serve this model from now on.

        Raises:
            ValueError: the campaign has no such model.
        """
        model = self._docs.model.objects(id=model_id, campaign=self.campaign)
        if not model.update_one(set__served_since=round_, full_result=True).matched_count:
            raise ValueError(f"the campaign {self.campaign} has no model {model_id}")
        self._docs.campaign.objects(id=self.campaign).update_one(
            set__served_model=model_id,
            set_on_insert__created_at=now(),
            set_on_insert__schema_version=SCHEMA_VERSION,
            upsert=True,
        )

    def served_model(self, before: int | None = None) -> ModelRecord | None:
        """The model that is served, None before the first promotion.

        Args:
            before: return the model that was served when this round began.
        """
        if before is not None:
            earlier = self._docs.model.objects(campaign=self.campaign, served_since__lt=before)
            stored = earlier.order_by("-served_since").first()
            return None if stored is None else _model(stored)
        campaign = self._docs.campaign.objects(id=self.campaign).first()
        if campaign is None or campaign.served_model is None:
            return None
        return _model(self._docs.model.objects.get(id=campaign.served_model))

    def models(self) -> list[ModelRecord]:
        """All models of the campaign, oldest round first."""
        return [
            _model(stored)
            for stored in self._docs.model.objects(campaign=self.campaign).order_by("round", "created_at")
        ]


class EventLedger(LedgerBase):
    """Events of the campaign."""

    def event(self, kind: str, message: str, round_: int | None = None, **data: Any) -> ObjectId:
        """Record an event with JSON ``data``; returns its id."""
        event = raw(
            self._docs.event,
            campaign=self.campaign,
            kind=kind,
            message=message,
            round=round_,
            time=now(),
            data=pack_json(data),
        )
        return ObjectId(self._collection(self._docs.event).insert_one(event).inserted_id)

    def event_once(self, kind: str, message: str, round_: int | None = None, **data: Any) -> None:
        """Record an event unless it exists, since a repeated stage would record it again."""
        if all(event.message != message for event in self.events(kind, round_)):
            self.event(kind, message, round_, **data)

    def events(self, kind: str | None = None, round_: int | None = None) -> list[EventRecord]:
        """Events of the campaign, oldest first; all of them, or of one kind, or of one round."""
        chosen = {name: value for name, value in (("kind", kind), ("round", round_)) if value is not None}
        return [
            from_row("event", stored.id, partial(_event, stored))
            for stored in self._docs.event.objects(campaign=self.campaign, **chosen).order_by("time", "id")
        ]


class ArrayLedger(LedgerBase):
    """Named sets of arrays of any size, in GridFS."""

    def put_arrays(self, key: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Store arrays under a name, replacing earlier ones; a reader gets all old or all new ones.

        Raises:
            ValueError: an array of Python objects.
        """
        files = self._files()
        new = files.put(pack_arrays(arrays), filename=f"{self.campaign}/{key}")
        old = self._docs.array_set.objects(id=f"{self.campaign}/{key}").modify(
            set__campaign=self.campaign,
            set__key=key,
            set__file=new,
            set_on_insert__schema_version=SCHEMA_VERSION,
            upsert=True,
            new=False,
        )
        if old is not None:
            files.delete(old.file)

    def arrays_once(self, key: str, make: Callable[[], dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
        """Arrays that are made and stored on the first call."""
        stored = self.get_arrays(key)
        if stored is None:
            stored = make()
            self.put_arrays(key, stored)
        return stored

    def get_arrays(self, key: str) -> dict[str, NDArray[Any]] | None:
        """Arrays by name, None if there are none under this key.

        Raises:
            InputError: a part of them is missing in the database.
        """
        for _ in range(_READ_ATTEMPTS):
            stored = self._docs.array_set.objects(id=f"{self.campaign}/{key}").first()
            if stored is None:
                return None
            try:
                return unpack_arrays(self._files().get(stored.file).read())
            except (NoFile, CorruptGridFile) as error:  # replaced while it was read
                failure = error
        raise InputError(
            f"The ledger's arrays {key} cannot be read ({reason_of(failure)}): a part of them is missing. Restore the "
            "database from a backup."
        ) from failure


def _event(stored: Any) -> EventRecord:
    return EventRecord(
        stored.kind, stored.message or "", stored.time.astimezone(UTC), stored.round, unpack_json(stored.data)
    )


def _model(stored: Any) -> ModelRecord:
    return ModelRecord(
        model_id=stored.id,
        round=stored.round,
        path=stored.path,
        fingerprint=stored.fingerprint,
        checkpoint=stored.checkpoint or "",
        info=from_row("model", stored.id, lambda: unpack_json(stored.info)),
        served_since=stored.served_since,
    )
