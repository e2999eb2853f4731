"""A ledger of another version is refused, and no change of format goes unnoticed."""

import json
from pathlib import Path
from typing import Any

import pymongo
import pytest
from mongoengine import EmbeddedDocumentField, EmbeddedDocumentListField, MapField

from al_loop.config import StoreSettings
from al_loop.errors import InputError
from al_loop.ledger import documents, open_ledger
from al_loop.ledger.base import FORMAT
from al_loop.ledger.documents import SCHEMA_VERSION

DATA = Path(__file__).parents[1] / "data" / "ledger"
CLASSES = [
    documents.Campaign, documents.Round, documents.Frame, documents.Visit, documents.Request,
    documents.Label, documents.Model, documents.Event, documents.ArraySet,
]  # fmt: skip


@pytest.mark.parametrize("version", [SCHEMA_VERSION - 1, SCHEMA_VERSION + 1])
def test_a_ledger_of_another_version_is_refused_and_left_alone(
    store: StoreSettings, tmp_path: Path, version: int
) -> None:
    with open_ledger(store, tmp_path, "one") as ledger:
        ledger.start_campaign({"name": "one"}, "id")
    with pymongo.MongoClient(store.uri, tz_aware=True) as client:
        database = client.get_default_database()
        assert database[FORMAT].find_one("version")["version"] == SCHEMA_VERSION
        database[FORMAT].update_one({"_id": "version"}, {"$set": {"version": version}})
        before = list(database["campaign"].find())
        with pytest.raises(InputError, match=f"version {version} of its format"), open_ledger(store, tmp_path, "one"):
            pass
        assert list(database["campaign"].find()) == before


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


def test_no_field_changes_without_a_new_version() -> None:
    now = {document.__name__: shape(document) for document in CLASSES}
    assert len(now) == len(documents.Documents.__dataclass_fields__)
    known = DATA / f"fields_{SCHEMA_VERSION}.json"
    assert now == json.loads(known.read_text()), (
        "The ledger's fields changed. Raise SCHEMA_VERSION in al_loop/ledger/documents.py, and write the new fields "
        f"to a new file beside {known}; those of a released version stay as they are."
    )
