"""The version of the ledger's format: recorded in an empty database, and checked in every other one."""

from collections.abc import Mapping
from typing import Any, Final

from al_loop.errors import InputError
from al_loop.ledger.documents import SCHEMA_VERSION
from al_loop.utils.foreign_input import reading

FORMAT: Final = "format"  # collection with the version of the ledger
_VERSION: Final = {"_id": "version"}


def note_format(database: Any) -> None:
    """Record the version in an empty ledger, or check it.

    Args:
        database: pymongo's.

    Raises:
        InputError: another version wrote it.
    """
    database[FORMAT].update_one(_VERSION, {"$setOnInsert": {"version": SCHEMA_VERSION}}, upsert=True)
    require_this_version(database)


def require_this_version(database: Any) -> None:
    """Check that a ledger has this version or is empty.

    Args:
        database: pymongo's.

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
