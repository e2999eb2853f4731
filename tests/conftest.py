"""One real MongoDB server for the whole test session, a fresh database for each test."""

import signal
import uuid
from collections.abc import Iterator

import pymongo
import pytest

from al_loop.config import StoreSettings
from al_loop.ledger.private_server import held_server

# A shell lets what it starts in the background ignore Ctrl-C, and every process below inherits that: the tests of
# Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URI of a private server; ``store`` names a database of its own on it."""
    with held_server(tmp_path_factory.mktemp("mongo")) as uri:
        yield uri


@pytest.fixture
def store(mongo_uri: str) -> Iterator[StoreSettings]:
    """A fresh database."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield StoreSettings(uri=mongo_uri.replace("/?", f"/{name}?"))
    with pymongo.MongoClient(mongo_uri) as client:
        client.drop_database(name)
