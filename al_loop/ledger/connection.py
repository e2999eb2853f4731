"""Connections to the ledger's database; no message contains credentials."""

import re
import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import mongoengine
import pymongo
from pymongo.errors import ConfigurationError, OperationFailure

from al_loop.errors import InputError
from al_loop.ledger.reconnect import Reconnector
from al_loop.utils.foreign_input import reading, reason_of

DATABASE: Final = "al_loop"  # unless the URI contains another name
CONNECT_TIMEOUT_S: Final = 5.0


@contextmanager
def connected(uri: str, wait_s: float = 0.0) -> Iterator[str]:
    """Connect to a server and yield the alias of the mongoengine connection.

    With any URI, writes are acknowledged after they are in the journal (of most members of a replica set), and reads
    go to the primary, so that they return these writes.

    Raises:
        InputError: the server does not respond within 5 s and ``wait_s``, refuses the credentials or has a version that
            pymongo does not support; or the URI, an option or a file in it is wrong.
    """
    alias = f"al-loop-{uuid.uuid4().hex}"
    _check_certificates(uri)
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

        Reconnector(wait_s, ping, name=without_credentials(uri)).through(ping)
    except Exception as error:  # noqa: BLE001 - pymongo raises any exception for a wrong URI
        mongoengine.disconnect(alias)
        raise InputError(_why_not(uri, error)) from None  # the text of the cause may contain the whole URI
    try:
        yield alias
    finally:
        mongoengine.disconnect(alias)


def uri_in_file(path: Path) -> str:
    """Read the URI from a file of the user.

    Raises:
        InputError: the file cannot be read, is empty, has several lines, or is readable for other users.
    """
    with reading(f"store.uri_file: {path}", "correct the path, or write one MongoDB URI into it"):
        others, text = path.stat().st_mode & 0o077, path.read_text(encoding="utf-8").strip()
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
    """Raise for a URI with unacknowledged writes, which is unsuitable for a ledger."""
    if re.search(r"[?&;]w=0(&|;|$)", uri, re.IGNORECASE):
        raise ValueError("w=0")


def _check_certificates(uri: str) -> None:
    """Raise for an option without a valid certificate file: pymongo's error does not contain the file's name."""
    for option, value in re.findall(r"[?&;](tls(?:CA|CertificateKey|CRL)File)=([^&;]*)", uri, re.IGNORECASE):
        path = Path(unquote(value, errors="surrogateescape"))
        what = f"{path}, which {option} names in MONGODB_URI (or store.uri),"
        with reading(what, "name a file with certificates (PEM) that you may read"):
            if path.exists() and not path.is_file():
                raise ValueError("it is no file")
            if b"-----BEGIN " not in path.read_bytes():
                raise ValueError("it holds no certificate")
            if "CA" in option.upper():
                ssl.create_default_context(cafile=path)


def _read_from_primary(uri: str) -> str:
    """The URI without read preferences, which mongoengine would prefer to its arguments."""
    place, mark, options = uri.partition("?")
    kept = [
        o for o in re.split("[&;]", options) if not re.match("readPreference|maxStalenessSeconds", o, re.IGNORECASE)
    ]
    return f"{place}{mark}{'&'.join(kept)}"


def _why_not(uri: str, error: Exception) -> str:
    where, why = without_credentials(uri), _reason(uri, error)
    if isinstance(error, OperationFailure):
        return (
            f"The MongoDB server at {where} refused the connection (code {error.code}: {why}). "
            "Check user, password and authSource in MONGODB_URI (or store.uri)."
        )
    if isinstance(error, ConfigurationError) and "wire version" in str(error):
        return (
            f"The MongoDB server at {where} has a version that pymongo {pymongo.version} does not support ({why}). "
            "Use a server between these versions, or install another pymongo; or leave MONGODB_URI (and store.uri) out "
            "and the campaign starts its own server."
        )
    if isinstance(error, pymongo.errors.ConnectionFailure):
        return (
            f"The MongoDB server at {where} did not answer within {CONNECT_TIMEOUT_S:g} s ({why}). "
            "Start it, correct MONGODB_URI (or store.uri), or leave both out and the campaign starts its own server."
        )
    return (
        f"The MongoDB URI for {where} cannot be used ({why}). Expected "
        "mongodb://user:password@host:port/database in MONGODB_URI (or store.uri), with special characters of user "
        "and password percent-encoded."
    )


def _reason(uri: str, error: Exception) -> str:
    """Text of pymongo's error for a URI; only its type if the text would contain a secret."""
    cause = error.__context__ if isinstance(error, mongoengine.ConnectionFailure) else error
    cause = cause if isinstance(cause, Exception) else error
    text = text_of(cause)
    if isinstance(cause, OSError) and cause.filename:
        text = f"{text}: {cause.filename}"
    holds_secret = any(re.search(rf"(?<!\w){re.escape(secret)}(?!\w)", text) for secret in _secrets(uri))
    return type(cause).__name__ if holds_secret else text


def text_of(error: Exception) -> str:
    """Text of pymongo's error, without the state of its topology and the server's whole reply."""
    return re.split(r" \(configured timeouts|, Timeout: |, full error: ", reason_of(error), maxsplit=1)[0]


def codes_of(error: OperationFailure) -> set[int]:
    """Error codes of a failed operation; each of many writes has its own."""
    each = (error.details or {}).get("writeErrors") or []
    return {int(code) for code in (error.code, *(one.get("code") for one in each)) if code is not None}


def _secrets(uri: str) -> set[str]:
    """Every part of user and password of a URI, encoded and decoded, and the values of secret options."""
    parts = re.split("[:/@]", re.sub("^[a-z+]+://", "", uri).rpartition("@")[0])
    parts += re.findall(r"(?i)(?:password|secret|token|properties)=([^&;]*)", uri)
    return {secret for part in parts for secret in (part, unquote(part)) if secret}
