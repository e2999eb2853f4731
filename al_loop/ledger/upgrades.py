"""The version of the ledger's format: noted in an empty database, and checked in every other one."""

from typing import Any, Final

from al_loop.errors import InputError
from al_loop.ledger.documents import SCHEMA_VERSION

FORMAT: Final = "format"  # the collection that says which version the ledger has
_VERSION: Final = {"_id": "version"}


def check_format(database: Any) -> None:
    """Note the version of an empty ledger; refuse a ledger of another version.

    Args:
        database: pymongo's.

    Raises:
        InputError: another version wrote it.
    """
    notes = database[FORMAT]
    notes.update_one(_VERSION, {"$setOnInsert": {"version": SCHEMA_VERSION}}, upsert=True)
    version = int(notes.find_one(_VERSION)["version"])
    if version != SCHEMA_VERSION:
        raise InputError(
            f"The ledger was written in version {version} of its format, and this al-loop reads version "
            f"{SCHEMA_VERSION}. Use the al-loop that wrote it, or choose another folder or database."
        )
