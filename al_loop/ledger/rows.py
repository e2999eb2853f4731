"""Reading of stored documents: one that is damaged or written by another program gives an error that names it."""

from collections.abc import Callable
from typing import Final, TypeVar

from pymongo.errors import ConnectionFailure, CursorNotFound, OperationFailure

from al_loop.errors import CampaignError, InputError
from committee import foreign

T = TypeVar("T")

_PASSING: Final = (CampaignError, ConnectionFailure, CursorNotFound, OperationFailure)  # of the server, not of the row


def from_row(collection: str, key: object, make: Callable[[], T]) -> T:
    """Return the result of ``make`` for a stored document.

    Args:
        collection: of the document.
        key: its ``_id``.
        make: converts it; may read its parts in GridFS.

    Raises:
        InputError: the document cannot be converted.
    """
    what = f"The document {key!r} in the collection {collection} of the ledger"
    remedy = "restore the database from a backup, or delete the document if another program wrote it"
    with foreign.reading(what, remedy, InputError, _PASSING):
        return make()
