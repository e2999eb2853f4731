"""A real replica set of one member on a unix socket, and the write and read concerns on any server."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymongo
import pytest
from ase.build import molecule
from pymongo.errors import ConnectionFailure
from pymongo.read_preferences import Primary

from al_loop.config import StoreSettings
from al_loop.errors import InputError
from al_loop.ledger import open_ledger
from al_loop.ledger.mongod import find_mongod
from al_loop.records import Frame, GateCheck, Role, Verdict, VerdictKind
from al_loop.utils.content_hash import frame_id
from dft_interfaces.label import Failure, Label, LabelStatus

NAME = "rs0"
PATIENCE_S = 60


class Member:
    """The only member of the set; killed and started again by the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "m.sock"
        (folder / "data").mkdir()
        self.process = self._launched()
        # Percent-encoded, mongod takes the path for the name of a machine.
        self.command("replSetInitiate", {"_id": NAME, "members": [{"_id": 0, "host": str(self.socket)}]})
        self._wait_for_primary()

    def restart(self) -> None:
        self.kill()
        self.process = self._launched()
        self._wait_for_primary()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def command(self, command: str, *arguments: object) -> dict[str, Any]:
        uri = f"mongodb://{quote(str(self.socket), safe='')}/?directConnection=true&serverSelectionTimeoutMS=1000"
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                with pymongo.MongoClient[dict[str, Any]](uri) as client:
                    return client.admin.command(command, *arguments)
            except ConnectionFailure:
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.1)

    def log(self) -> str:
        return (self.folder / "log").read_text()[-3000:]

    def _wait_for_primary(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self.command("hello").get("isWritablePrimary"):
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def _launched(self) -> "subprocess.Popen[bytes]":
        command = [find_mongod(), "--replSet", NAME, "--dbpath", self.folder / "data", "--bind_ip", self.socket]
        command += ["--nounixsocket", "--port", "0", "--quiet", "--wiredTigerCacheSizeGB", "0.25"]
        command += ["--networkMessageCompressors", "disabled", "--oplogSize", "16"]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen([str(part) for part in command], stdout=log, env={**os.environ, "LC_ALL": "C"})


@pytest.fixture
def member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    running = Member(tmp_path_factory.mktemp("rs"))
    try:
        yield running
    finally:
        running.kill()


def visit(seed: int) -> Frame:
    atoms = molecule("H2O")
    atoms.rattle(0.1, seed=seed)
    verdict = Verdict(VerdictKind.SUSPECT, GateCheck.UNCALIBRATED, "", (0,))
    return Frame(frame_id(atoms), atoms, Role.EXPLORE, "water", "water/600K/0", seed, 600.0, verdict)


def careless(place: str) -> StoreSettings:
    """A URI with weaker guarantees than a ledger needs."""
    return StoreSettings(uri=f"{place}w=1&journal=false&readPreference=secondaryPreferred")


def write(store: StoreSettings, folder: Path) -> None:
    """Write data that must be there after an immediate kill -9."""
    with open_ledger(store, folder, "one") as ledger:
        ledger.start_campaign({})
        given = [visit(seed) for seed in range(20)]
        ledger.replace_visits(0, [Role.EXPLORE], given)
        ledger.request_labels(0, Role.EXPLORE, given, "level")
        for _ in range(5):
            claimed = ledger.claim("worker-0", "level", 60)
            assert claimed is not None
            assert ledger.complete(claimed, Label(LabelStatus.FAILED, "level", failure=Failure.CRASH))
        ledger.finish_stage(0, "label", 1.0, {})


def check(store: StoreSettings, folder: Path) -> None:
    with open_ledger(store, folder, "one") as ledger:
        assert len(ledger.visits(0)) == 20
        assert ledger.open_requests(0) == 15
        assert len(ledger.labelled([Role.EXPLORE], converged_only=False)) == 5
        assert ledger.stage_results(0, "label") == {}


def test_a_replica_set_keeps_what_it_has_acknowledged(member: Member, tmp_path: Path) -> None:
    host = quote(str(member.socket), safe="")
    store = careless(f"mongodb://{host}/al_loop?replicaSet={NAME}&")
    write(store, tmp_path)
    member.restart()
    check(store, tmp_path)


def test_whatever_the_uri_says_writes_are_in_the_journal(store: StoreSettings, tmp_path: Path) -> None:
    place = str(store.uri).partition("?")[0]
    careless_store = careless(f"{place}?directConnection=true&")
    with open_ledger(careless_store, tmp_path, "one") as ledger:
        for collection in (ledger._collection(document) for document in ledger._docs.all()):
            assert collection.write_concern.document == {"w": "majority", "j": True}
            assert isinstance(collection.read_preference, Primary)
    write(careless_store, tmp_path)
    check(careless_store, tmp_path)


def test_unacknowledged_writes_are_refused(store: StoreSettings, tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="cannot be used"),
        open_ledger(StoreSettings(uri=f"{store.uri}&w=0"), tmp_path, "one"),
    ):
        pass
