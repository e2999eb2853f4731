"""A ledger of an earlier version is brought up to date, and no change of format goes unnoticed."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pymongo
import pytest
from bson import json_util
from mongoengine import EmbeddedDocumentField, EmbeddedDocumentListField, MapField

from al_loop.config import StoreSettings
from al_loop.errors import InputError
from al_loop.ledger import documents, open_ledger, upgrades
from al_loop.ledger.codec import unpack_indices
from al_loop.ledger.documents import SCHEMA_VERSION
from al_loop.ledger.upgrades import FORMAT, STEPS, Step, bring_up_to_date
from al_loop.records import Role, VerdictKind
from dft_interfaces.label import LabelStatus

DATA = Path(__file__).parents[1] / "data" / "ledger"
COLLECTIONS = ["campaign", "round", "frame", "visit", "request", "label", "model", "event", "array_set"]
CLASSES = [
    documents.Campaign, documents.Round, documents.Frame, documents.Visit, documents.Request,
    documents.Label, documents.Model, documents.Event, documents.ArraySet,
]  # fmt: skip


@pytest.fixture
def database(store: StoreSettings) -> Iterator[Any]:
    """As version 1 wrote it."""
    written = json_util.loads((DATA / "version_1.json").read_text())
    with pymongo.MongoClient(store.uri, tz_aware=True) as client:
        database = client.get_default_database()
        for name, found in written.items():
            if found:
                database[name].insert_many(found)
        database["frame"].create_index("formula")
        yield database


def versions(database: Any) -> set[int]:
    return {entry["schema_version"] for name in COLLECTIONS for entry in database[name].find()}


def test_a_ledger_of_version_1_is_read_as_it_was_written(database: Any, store: StoreSettings, tmp_path: Path) -> None:
    assert versions(database) == {1}
    with open_ledger(store, tmp_path, "one") as ledger:
        assert versions(database) == {SCHEMA_VERSION}
        assert ledger.campaign_config() == {"name": "one", "rounds": 2}
        first, second, third = ledger.visits(0, Role.EXPLORE)
        assert [visit.verdict.atoms for visit in (first, second, third)] == [(2,), (), (0, 3)]
        assert third.verdict.kind is VerdictKind.DISCARD
        assert np.isnan(third.force_uncertainty_eV_per_A or 0)
        assert first.descriptor is not None
        assert first.descriptor.tolist() == [0, 1, 2, 3]
        ended = ledger.labelled(tuple(Role), converged_only=False)
        assert [frame.label.status for frame in ended].count(LabelStatus.CONVERGED) == 1
        assert [frame.label.message for frame in ended if "far from the rest" in frame.label.message]
        assert len(ledger.labelled([Role.EXPLORE], with_outliers=True)) == 2
        assert ledger.open_requests(0) == 1
        claimed = ledger.claim("worker-0", "level", 60)
        assert claimed is not None
        served = ledger.served_model()
        assert served is not None
        assert served.path == "round-000"
        assert np.isnan(ledger.events()[0].data["value"])
        assert np.isnan((ledger.stage_results(0, "report") or {})["mae"])
        arrays = ledger.get_arrays("evaluation/0")
        assert arrays is not None
        assert arrays["x"].tolist() == [0, 1, 2, 3, 4]
    assert "formula_1" not in database["frame"].index_information()
    assert not database["visit"].count_documents({"atoms": {"$exists": True}})


class Killed(BaseException):
    pass


def contents(database: Any) -> dict[str, list[Any]]:
    return {name: list(database[name].find().sort("_id", 1)) for name in COLLECTIONS}


@pytest.mark.parametrize("killed_at", range(0, 16, 3))
def test_an_upgrade_that_was_killed_goes_on(database: Any, killed_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    untouched = contents(database)
    monkeypatch.setattr(upgrades, "BATCH", 1)
    seen = 0

    def change(visit: dict[str, Any]) -> dict[str, Any]:
        nonlocal seen
        if seen == killed_at:
            raise Killed
        seen += 1
        return {"$set": {"times": visit.get("times", 0) + 1}}

    steps = [*STEPS, Step(to=SCHEMA_VERSION + 1, changes=dict.fromkeys(COLLECTIONS, change))]
    with pytest.raises(Killed):
        bring_up_to_date(database, COLLECTIONS, steps)
    assert database[FORMAT].find_one("version")["version"] == SCHEMA_VERSION
    killed_at = -1
    bring_up_to_date(database, COLLECTIONS, steps)
    bring_up_to_date(database, COLLECTIONS, steps)
    assert versions(database) == {SCHEMA_VERSION + 1}
    assert {entry["times"] for name in COLLECTIONS for entry in database[name].find()} == {1}
    assert {name: len(found) for name, found in contents(database).items()} == {
        name: len(found) for name, found in untouched.items()
    }


def test_many_open_an_old_ledger_at_once(database: Any, store: StoreSettings, tmp_path: Path) -> None:
    def open_it(_: int) -> None:
        with open_ledger(store, tmp_path, "one") as ledger:
            assert ledger.visits(0, Role.EXPLORE)[0].verdict.atoms == (2,)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(open_it, range(4)))
    assert versions(database) == {SCHEMA_VERSION}
    packed = [entry.get("atom_indices") for entry in database["visit"].find().sort("order", 1)]
    assert sorted(unpack_indices(data) for data in packed if data) == [(0, 3), (2,)]


def test_who_died_while_upgrading_is_taken_over(database: Any) -> None:
    database[FORMAT].insert_one({"_id": "version", "version": 1})
    database[FORMAT].insert_one({"_id": "upgrade", "owner": "dead"})
    database[FORMAT].update_one({"_id": "upgrade"}, [{"$set": {"until": {"$add": ["$$NOW", 300]}}}])
    bring_up_to_date(database, COLLECTIONS)
    assert versions(database) == {SCHEMA_VERSION}


def test_a_newer_ledger_is_refused_and_left_alone(database: Any, store: StoreSettings, tmp_path: Path) -> None:
    bring_up_to_date(database, COLLECTIONS)
    database[FORMAT].update_one({"_id": "version"}, {"$set": {"version": 99}})
    before = contents(database)
    with pytest.raises(InputError, match="version 99"), open_ledger(store, tmp_path, "one"):
        pass
    assert json_util.dumps(contents(database)) == json_util.dumps(before)  # holds NaN


def described(field: Any) -> str:
    inner = getattr(field, "field", None)
    of = ""
    if isinstance(field, EmbeddedDocumentField):
        of = f" of {shape(field.document_type)}"
    elif isinstance(field, EmbeddedDocumentListField | MapField):
        of = f" of {described(inner)}"
    need = "required " if field.required else ""
    return f"{need}{type(field).__name__}{of}"


def shape(document: Any) -> dict[str, str]:
    return {name: described(field) for name, field in sorted(document._fields.items())}


def test_no_field_changes_without_a_new_version_and_a_step() -> None:
    assert [step.to for step in STEPS] == list(range(2, SCHEMA_VERSION + 1))
    now = {document.__name__: shape(document) for document in CLASSES}
    assert len(now) == len(documents.Documents.__dataclass_fields__)
    known = DATA / f"fields_{SCHEMA_VERSION}.json"
    assert now == json.loads(known.read_text()), (
        "The ledger's fields changed. Raise SCHEMA_VERSION in al_loop/ledger/documents.py, add a Step to STEPS in "
        "al_loop/ledger/upgrades.py, and write the new fields to a new file beside "
        f"{known}; those of a released version stay as they are."
    )
