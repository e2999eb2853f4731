"""A connection to the ledger's database; credentials never show in what it says."""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import mongoengine
import pymongo
from pymongo import ReadPreference
from pymongo.errors import OperationFailure, PyMongoError

from al_loop.errors import InputError

DATABASE: Final = "al_loop"  # unless the URI names another one
CONNECT_TIMEOUT_S: Final = 5.0


@contextmanager
def connected(uri: str) -> Iterator[str]:
    """The alias of a mongoengine connection that answers.

    Whatever the URI says, writes are acknowledged after they are in the journal (of most members of a replica set) and
    reads go to the primary, so that they see them.

    Raises:
        InputError: the server does not answer within 5 s, refuses the credentials, or the URI is no URI.
    """
    alias = f"al-loop-{uuid.uuid4().hex}"
    try:
        _refuse_unacknowledged(uri)
        client = mongoengine.connect(
            DATABASE,
            host=uri,
            alias=alias,
            w="majority",
            journal=True,
            read_preference=ReadPreference.PRIMARY,
            tz_aware=True,
            uuidRepresentation="standard",
        )
        with pymongo.timeout(CONNECT_TIMEOUT_S):
            client.admin.command("ping")
    except (PyMongoError, mongoengine.ConnectionFailure, ValueError, TypeError) as error:
        mongoengine.disconnect(alias)
        raise InputError(_why_not(uri, error)) from None  # the cause's text may hold the whole URI
    try:
        yield alias
    finally:
        mongoengine.disconnect(alias)


def without_credentials(uri: str) -> str:
    """Host and port of a URI, without user, password, database and options."""
    rest = re.sub(r"^[a-z+]+://", "", uri).rpartition("@")[2]
    return re.split(r"[/?]", rest, maxsplit=1)[0].replace("%2F", "/") or "(no host)"


def _refuse_unacknowledged(uri: str) -> None:
    """Raise for a URI that asks for writes which nobody confirms: it is not meant for a ledger."""
    if re.search(r"[?&;]w=0(&|;|$)", uri, re.IGNORECASE):
        raise ValueError("w=0")


def _why_not(uri: str, error: Exception) -> str:
    where = without_credentials(uri)
    if isinstance(error, OperationFailure):
        return (
            f"The MongoDB server at {where} refused the connection (code {error.code}). "
            "Check user, password and authSource in MONGODB_URI (or store.uri)."
        )
    if isinstance(error, pymongo.errors.ConnectionFailure):
        return (
            f"The MongoDB server at {where} did not answer within {CONNECT_TIMEOUT_S:g} s. "
            "Start it, correct MONGODB_URI (or store.uri), or leave both out and the campaign starts its own server."
        )
    return (
        f"The MongoDB URI for {where} cannot be used ({type(error).__name__}). Expected "
        "mongodb://user:password@host:port/database in MONGODB_URI (or store.uri), with special characters of user "
        "and password percent-encoded."
    )
