"""A connection to the ledger's database; credentials never show in what it says."""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import mongoengine
import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from al_loop.errors import InputError
from al_loop.ledger.patience import Patience

DATABASE: Final = "al_loop"  # unless the URI names another one
CONNECT_TIMEOUT_S: Final = 5.0


@contextmanager
def connected(uri: str, wait_s: float = 0.0) -> Iterator[str]:
    """The alias of a mongoengine connection that answers.

    Whatever the URI says, writes are acknowledged after they are in the journal (of most members of a replica set) and
    reads go to the primary, so that they see them.

    Args:
        uri: of the server.
        wait_s: for how long one that does not answer is waited for, s.

    Raises:
        InputError: the server does not answer within 5 s and ``wait_s``, refuses the credentials, or the URI is none.
    """
    alias = f"al-loop-{uuid.uuid4().hex}"
    try:
        _refuse_unacknowledged(uri)
        client = mongoengine.connect(
            DATABASE,
            host=_read_from_primary(uri),
            alias=alias,
            w="majority",
            journal=True,
            tz_aware=True,
            uuidRepresentation="standard",
        )

        def ping() -> None:
            with pymongo.timeout(CONNECT_TIMEOUT_S):
                client.admin.command("ping")

        Patience(wait_s, ping, name=without_credentials(uri)).through(ping)
    except (PyMongoError, mongoengine.ConnectionFailure, ValueError, TypeError) as error:
        mongoengine.disconnect(alias)
        raise InputError(_why_not(uri, error)) from None  # the cause's text may hold the whole URI
    try:
        yield alias
    finally:
        mongoengine.disconnect(alias)


def uri_in_file(path: Path) -> str:
    """The URI in a file of the user's own.

    Raises:
        InputError: it cannot be read, is empty or of several lines, or others may read it.
    """
    try:
        others, text = path.stat().st_mode & 0o077, path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"store.uri_file: {path} cannot be read ({reason}); correct the path") from None
    if others:
        raise InputError(f"store.uri_file: others may read {path}, which holds a password: chmod 600 {path}")
    if not text or len(text.split()) > 1:
        raise InputError(f"store.uri_file: expected one MongoDB URI in {path}, received {len(text.split())} words")
    return text


def without_credentials(uri: str) -> str:
    """Host and port of a URI, without user, password, database and options."""
    rest = re.sub(r"^[a-z+]+://", "", uri).rpartition("@")[2]
    return re.split(r"[/?]", rest, maxsplit=1)[0].replace("%2F", "/") or "(no host)"


def _refuse_unacknowledged(uri: str) -> None:
    """Raise for a URI that asks for writes which nobody confirms: it is not meant for a ledger."""
    if re.search(r"[?&;]w=0(&|;|$)", uri, re.IGNORECASE):
        raise ValueError("w=0")


def _read_from_primary(uri: str) -> str:
    """The URI without its wish to read from secondaries, which mongoengine puts above what it is told."""
    place, mark, options = uri.partition("?")
    kept = [
        o for o in re.split("[&;]", options) if not re.match("readPreference|maxStalenessSeconds", o, re.IGNORECASE)
    ]
    return f"{place}{mark}{'&'.join(kept)}"


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
