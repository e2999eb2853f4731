"""The boundary of the ledger: a document that others wrote, or damaged, is one message that names it."""

from collections.abc import Callable
from typing import Final, TypeVar

from pymongo.errors import ConnectionFailure, CursorNotFound, OperationFailure

from al_loop.errors import CampaignError, InputError
from committee import foreign

T = TypeVar("T")

_PASSING: Final = (CampaignError, ConnectionFailure, CursorNotFound, OperationFailure)  # of the server, not of the row


def from_row(collection: str, key: object, make: Callable[[], T]) -> T:
    """Return what is made of a stored document.

    Args:
        collection: where it lies.
        key: its ``_id``.
        make: turns it into values of ours; may read its parts in GridFS.

    Raises:
        InputError: it is not as al-loop writes them.
    """
    what = f"The document {key!r} in the collection {collection} of the ledger"
    remedy = "restore the database from a backup, or delete the document if another program wrote it"
    with foreign.reading(what, remedy, InputError, _PASSING):
        return make()
