"""What the whole session shares: a real MongoDB server, with a fresh database for each test, and trained committees."""

import fcntl
import os
import shutil
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pymongo
import pytest

from al_loop.config import StoreSettings
from al_loop.ledger.private_server import held_server

if TYPE_CHECKING:  # what needs no model is tested without torch, too
    from committee import CommitteePotential
    from committee.backbones.contract import Backbone

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


@pytest.fixture(scope="session")
def once_per_session(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """A function that fills a folder once, whichever of pytest-xdist's workers asks first; the others wait for it."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def once(name: str, fill: Callable[[Path], None]) -> Path:
        folder, half = shared / f"once-{name}", shared / f"once-{name}-half"
        with (shared / f"once-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                shutil.rmtree(half, ignore_errors=True)
                half.mkdir()
                fill(half)
                half.rename(folder)
        return folder

    return once


@pytest.fixture(scope="session")
def trained_once(
    once_per_session: Callable[[str, Callable[[Path], None]], Path],
) -> "Callable[..., CommitteePotential]":
    """A function that trains a committee once per session and opens its checkpoint, in every worker."""

    def opened(
        name: str, make: "Callable[[Path], CommitteePotential]", backbone: "Backbone | None" = None
    ) -> "CommitteePotential":
        from committee import load, save

        folder = once_per_session(name, lambda half: save(make(half / "tangents"), half / "model"))
        return load(folder / "model", backbone)

    return opened
