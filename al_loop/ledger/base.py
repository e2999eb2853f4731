"""What the parts of the ledger share."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, TypeVar

from gridfs import GridFS
from mongoengine.connection import get_db

from al_loop.ledger.blobs import bucket
from al_loop.ledger.documents import Documents, bind
from al_loop.ledger.patience import Patience, in_parts
from al_loop.ledger.upgrades import check_format

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
        self.patience = Patience()

    def prepare(self) -> None:
        """Check the version of the database's format and create what makes queries fast, where it is missing.

        Raises:
            InputError: another version wrote it.
        """
        check_format(self._database)
        self._docs.ensure_indexes()

    def _files(self) -> GridFS:
        return bucket(self._database)

    @in_parts
    def ping(self) -> None:
        """Ask the server for an answer."""
        self._database.client.admin.command("ping")

    def _collection(self, document: type[Any]) -> Any:
        """The collection itself, for what mongoengine has no words for: pipelines and bulk writes."""
        return self._database[document._get_collection_name()]


def now() -> datetime:
    """The time, UTC, as MongoDB keeps it: to the millisecond."""
    return datetime.now(UTC)


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Lists of at most ``size`` items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def raw(document: Any) -> dict[str, Any]:
    """A document as it is stored, checked against its declared fields."""
    document.validate()
    stored: dict[str, Any] = document.to_mongo().to_dict()
    return stored
