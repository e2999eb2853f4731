"""Versions of the ledger's format, and the steps that lead from each to the next.

A ledger of an earlier version is brought up to date when it is opened, by one process while others wait. Each document
is changed in one write that also raises its version, so that a step that was killed goes on where it stopped, and two
that run at once do no harm. A new version is a new ``Step`` at the end of ``STEPS``; the earlier ones stay as they are.
"""

import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import OperationFailure

from al_loop.errors import InputError
from al_loop.foreign import reading
from al_loop.ledger.codec import pack_indices

FORMAT: Final = "format"  # the collection that says which version the ledger has
LEASE_S: Final = 60.0  # an upgrade that has not moved for so long was killed
BATCH: Final = 1000
_WAIT_S: Final = 0.1
_VERSION: Final = {"_id": "version"}
_UPGRADE: Final = {"_id": "upgrade"}
_NO_SUCH_INDEX, _NO_SUCH_COLLECTION = 27, 26

Change = Callable[[dict[str, Any]], dict[str, Any]]
"""A stored document -> MongoDB's update operators for it."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """From one version to the next.

    Attributes:
        to: the version it leads to.
        changes: collection -> what becomes of each document; those of other collections only get the new version.
        dropped_indexes: collection -> names of indexes that nothing uses any more.
    """

    to: int
    changes: Mapping[str, Change] = field(default_factory=dict)
    dropped_indexes: Mapping[str, Sequence[str]] = field(default_factory=dict)


def _indices_as_bytes(visit: dict[str, Any]) -> dict[str, Any]:
    indices = visit.get("atoms") or []
    packed = {"$set": {"atom_indices": pack_indices(indices)}} if indices else {}
    return {**packed, "$unset": {"atoms": ""}}


STEPS: Final = (
    Step(
        to=2,
        changes={"visit": _indices_as_bytes},
        dropped_indexes={"frame": ["formula_1"], "array_set": ["campaign_1"]},
    ),
    Step(to=3),  # a campaign's id and lease, and a model's SHA-256, are written from then on
)


def bring_up_to_date(
    database: Any, collections: Sequence[str], steps: Sequence[Step] = STEPS, lease_s: float = LEASE_S
) -> None:
    """Lead a ledger to the last step's version; an empty database is of that version at once.

    Args:
        database: pymongo's.
        collections: those whose documents carry ``schema_version``.
        steps: the chain.
        lease_s: after how long another process takes over an upgrade that does not move.

    Raises:
        InputError: a newer version wrote it.
    """
    newest = steps[-1].to
    version = _known_version(database, collections, newest)
    if version is None or version == newest:
        _note(database, newest)
        return
    _note(database, version)
    with _one_at_a_time(database, newest, lease_s) as renew:
        for step in steps:
            if step.to > _noted(database):
                _logger.info("The ledger is brought to version %d of its format.", step.to)
                _take(database, collections, step, renew)


def require_this_version(database: Any, collections: Sequence[str]) -> None:
    """Check that a ledger can be read as it is; an empty database can.

    Raises:
        InputError: another version wrote it.
    """
    newest = STEPS[-1].to
    version = _known_version(database, collections, newest)
    if version is not None and version < newest:
        raise InputError(
            f"The ledger was written in version {version} of its format, and this al-loop reads version {newest}. "
            "`al-loop run` brings it up to date, as a user who may write to the database."
        )


def _known_version(database: Any, collections: Sequence[str], newest: int) -> int | None:
    version = _version(database, collections, newest)
    if version is not None and version > newest:
        raise InputError(
            f"The ledger was written in version {version} of its format, and this al-loop knows up to {newest}. "
            "Install a newer al-loop, or choose another folder or database."
        )
    return version


def _version(database: Any, collections: Sequence[str], newest: int) -> int | None:
    """The version of a database, None for an empty one.

    Version 1 noted it in its documents only; there a newer program is known by them too.
    """
    campaign = database["campaign"].find_one({}, {"schema_version": 1}, sort=[("schema_version", -1)])
    of_campaigns = 0 if campaign is None else _number(database, campaign, "schema_version", 1)
    if of_campaigns > newest:
        return of_campaigns
    noted = database[FORMAT].find_one(_VERSION)
    if noted is not None:
        return _number(database, noted, "version")
    return 1 if any(database[name].find_one({}, {"_id": 1}) for name in collections) else None


def _number(database: Any, document: Mapping[str, Any], key: str, default: int | None = None) -> int:
    what = f"the version of the ledger in the database {database.name}, in the document {document.get('_id')!r},"
    with reading(what, "restore the database from a backup, or choose another one"):
        return int(document.get(key, default))  # type: ignore[arg-type]  # or it is refused


def _noted(database: Any) -> int:
    return int(database[FORMAT].find_one(_VERSION)["version"])


def _note(database: Any, version: int) -> None:
    """Note the version of a ledger that has none noted."""
    if database[FORMAT].find_one(_VERSION) is None:
        database[FORMAT].update_one(_VERSION, {"$setOnInsert": {"version": version}}, upsert=True)


def _take(database: Any, collections: Sequence[str], step: Step, renew: Callable[[], None]) -> None:
    for name, indexes in step.dropped_indexes.items():
        for index in indexes:
            _drop_index(database[name], index)
    for name in collections:
        for batch in _batches(database[name], step.to):
            renew()
            database[name].bulk_write([_update(document, step, name) for document in batch], ordered=False)
    database[FORMAT].update_one({**_VERSION, "version": step.to - 1}, {"$set": {"version": step.to}})


def _batches(collection: Any, version: int) -> Iterator[list[dict[str, Any]]]:
    """Documents below a version, in the order of their ids; those that were changed before are passed over."""
    after: dict[str, Any] = {}
    while batch := list(
        collection.find({**after, "schema_version": {"$not": {"$gte": version}}}).sort("_id", 1).limit(BATCH)
    ):
        yield batch
        after = {"_id": {"$gt": batch[-1]["_id"]}}


def _update(document: dict[str, Any], step: Step, name: str) -> UpdateOne:
    change = step.changes[name](document) if name in step.changes else {}
    raised = {**change, "$set": {**change.get("$set", {}), "schema_version": step.to}}
    return UpdateOne({"_id": document["_id"], "schema_version": document.get("schema_version")}, raised)


def _drop_index(collection: Any, name: str) -> None:
    try:
        collection.drop_index(name)
    except OperationFailure as error:
        if error.code not in (_NO_SUCH_INDEX, _NO_SUCH_COLLECTION):
            raise


@contextmanager
def _one_at_a_time(database: Any, newest: int, lease_s: float) -> Iterator[Callable[[], None]]:
    """Wait for the right to upgrade, by the server's clock; returns as well once somebody else has finished."""
    locks, owner = database[FORMAT], uuid.uuid4().hex
    held = {"owner": owner, "until": {"$add": ["$$NOW", round(1000 * lease_s)]}}
    locks.update_one(_UPGRADE, {"$setOnInsert": {"until": datetime.fromtimestamp(0, UTC)}}, upsert=True)
    free = {**_UPGRADE, "$expr": {"$lt": ["$until", "$$NOW"]}}
    while (
        locks.find_one_and_update(free, [{"$set": held}], return_document=ReturnDocument.AFTER) is None
        and _noted(database) < newest
    ):
        time.sleep(_WAIT_S)
    mine = {**_UPGRADE, "owner": owner}

    def renew() -> None:
        locks.update_one(mine, [{"$set": held}])

    try:
        yield renew
    finally:
        locks.update_one(mine, {"$set": {"until": datetime.fromtimestamp(0, UTC)}})
