"""Common base of the parts of the ledger, and the version of its format."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, TypeVar

from gridfs import GridFS
from mongoengine import ValidationError
from mongoengine.connection import get_db

from al_loop.errors import InputError
from al_loop.ledger.codec import bucket
from al_loop.ledger.documents import SCHEMA_VERSION, Documents, bind
from al_loop.ledger.reconnect import Reconnector, in_parts
from al_loop.utils.foreign_input import reading

CHUNK: Final = 5000  # ids in one query: far below the size of a message
T = TypeVar("T")


class LedgerBase:
    """One campaign's view of the database.

    Args:
        alias: the mongoengine connection.
        campaign: name of the campaign.
    """

    def __init__(self, alias: str, campaign: str) -> None:
        self.campaign = campaign
        self._docs: Documents = bind(alias)
        self._database: Any = get_db(alias)
        self.reconnector = Reconnector()

    def prepare(self) -> None:
        """Check the version of the database's format and create missing indexes.

        Raises:
            InputError: another version wrote it, or the server does not accept writes.
            OperationFailure: the user has no write permission, or the server refuses for another reason.
        """
        self._require_writable()
        note_format(self._database)
        self._docs.ensure_indexes()
        self.check_writable()

    def check_writable(self) -> None:
        """Write a timestamp as a test.

        Raises:
            OperationFailure: the user has no write permission, or the server accepts no writes.
        """
        self._database[FORMAT].update_one({"_id": "written"}, {"$currentDate": {"time": True}}, upsert=True)

    def prepare_to_read(self) -> None:
        """Check the version of the format; nothing is written.

        Raises:
            InputError: another version wrote it.
        """
        require_this_version(self._database)

    def _require_writable(self) -> None:
        hello = self._database.client.admin.command("hello")
        if not hello.get("isWritablePrimary") or hello.get("readOnly"):
            kind = f"a secondary of the replica set {hello['setName']}" if hello.get("secondary") else "read-only"
            raise InputError(
                f"The MongoDB server {hello.get('me', 'of the ledger')} is {kind}: it accepts no writes. Give the URI "
                "of the whole replica set, or of a writable server; `status`, `report` and `export` only read and work "
                "with this one too."
            )

    def _files(self) -> GridFS:
        return bucket(self._database)

    @in_parts
    def ping(self) -> None:
        """Check that the server responds."""
        self._database.client.admin.command("ping")

    def _collection(self, document: type[Any]) -> Any:
        """The pymongo collection, for aggregations and bulk writes, which mongoengine does not support."""
        return self._database[document._get_collection_name()]


def now() -> datetime:
    """The current time, UTC."""
    return datetime.now(UTC)


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Lists of at most ``size`` items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def raw(document: type[Any], **values: Any) -> dict[str, Any]:
    """A document as a dictionary, with each value validated against the field of its class.

    Creating an object of the class and converting it back takes as long as all other steps of storing a frame.

    Args:
        document: the class.
        values: by name of the field; None values are left out.

    Raises:
        ValidationError: a value of another type than its field, a missing field, or one that is not declared.
    """
    stored: dict[str, Any] = {}
    for name, field in document._fields.items():
        value = values.pop(name, None)
        if value is None:
            value = field.default() if callable(field.default) else field.default
        if value is not None:
            field._validate(value)
            stored[field.db_field] = field.to_mongo(value)
        elif field.required:
            raise ValidationError(f"{document.__name__} has no {name}")
    if values:
        raise ValidationError(f"{document.__name__} knows no field {', '.join(values)}")
    return stored


FORMAT: Final = "format"  # collection with the version of the ledger
_VERSION: Final = {"_id": "version"}


def note_format(database: Any) -> None:
    """Record the version in an empty ledger, or check it.

    Raises:
        InputError: another version wrote it.
    """
    database[FORMAT].update_one(_VERSION, {"$setOnInsert": {"version": SCHEMA_VERSION}}, upsert=True)
    require_this_version(database)


def require_this_version(database: Any) -> None:
    """Check that a ledger has this version or is empty.

    Raises:
        InputError: another version wrote it.
    """
    noted: Mapping[str, Any] | None = database[FORMAT].find_one(_VERSION)
    if noted is None:
        return
    what = f"the version of the ledger in the database {database.name}, in the document {_VERSION['_id']!r},"
    with reading(what, "restore the database from a backup, or choose another one"):
        version = int(noted["version"])
    if version != SCHEMA_VERSION:
        raise InputError(
            f"The ledger was written in version {version} of its format, and this al-loop reads version "
            f"{SCHEMA_VERSION}. Use the al-loop that wrote it, or choose another folder or database."
        )
