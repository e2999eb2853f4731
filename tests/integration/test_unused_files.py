"""Large files in the database that nothing names: left by kills, swept without a race."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pymongo
import pytest
from ase import Atoms

from al_loop.config import StoreSettings
from al_loop.ledger import Ledger, open_ledger
from al_loop.ledger.garbage_collection import file_fields
from al_loop.records import Frame, GateCheck, Role, Verdict, VerdictKind
from al_loop.utils.content_hash import frame_id

LARGE = 230_000  # atoms: more than a document holds
# A process that is killed at one place between the first piece of a file and the document that names it.
KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_unused_files import *
import al_loop.ledger.frames

def die(*_):
    os.kill(os.getpid(), 9)

if sys.argv[3] == "file":  # its pieces are there, the file that they belong to is not
    insert_one = pymongo.collection.Collection.insert_one
    pymongo.collection.Collection.insert_one = (
        lambda self, *given, **named: die() if self.name == "arrays.files" else insert_one(self, *given, **named)
    )
else:
    put_blob = al_loop.ledger.frames.put_blob
    al_loop.ledger.frames.put_blob = lambda *given: (put_blob(*given), die())
with open_ledger(StoreSettings(uri=sys.argv[2]), Path(), "killed") as ledger:
    ledger.replace_visits(0, [Role.EXPLORE], [visit(2)])
"""


def visit(seed: int) -> Frame:
    rng = np.random.default_rng(seed)
    atoms = Atoms(np.full(LARGE, 29), rng.uniform(0, 200, (LARGE, 3)), cell=[200] * 3, pbc=True)
    verdict = Verdict(VerdictKind.SUSPECT, GateCheck.UNCALIBRATED)
    return Frame(frame_id(atoms), atoms, Role.EXPLORE, "box", "box/600K/0", 5, 600.0, verdict)


@pytest.fixture
def database(store: StoreSettings) -> Iterator[Any]:
    with pymongo.MongoClient(store.uri) as client:
        yield client.get_default_database()


@pytest.fixture
def ledger(store: StoreSettings, tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(store, tmp_path, "one") as opened:
        yield opened


def stored(database: Any) -> set[Any]:
    """Files of which at least a piece is there."""
    return set(database["arrays.chunks"].distinct("files_id")) | set(database["arrays.files"].distinct("_id"))


@pytest.mark.parametrize("place", ["file", "document"])
def test_what_a_kill_left_is_deleted_by_a_later_sweep(
    ledger: Ledger, store: StoreSettings, database: Any, place: str
) -> None:
    kept = visit(1)
    ledger.replace_visits(0, [Role.EXPLORE], [kept])
    ledger.put_arrays("evaluation", {"x": np.arange(3.0)})
    named = stored(database)
    assert len(named) == 2
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), store.uri or "", place]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert len(stored(database)) == 3
    assert bool(database["arrays.files"].count_documents({"_id": {"$nin": list(named)}})) == (place == "document")
    for _ in range(2):  # noted, and then not yet old enough
        assert ledger.sweep_files() == 0
        assert len(stored(database)) == 3
    (noted,) = database["unused_file"].find({})
    database["unused_file"].update_one({}, {"$set": {"since": noted["since"] - np.timedelta64(25, "h").item()}})
    assert ledger.sweep_files() == 1
    assert stored(database) == named
    assert ledger.sweep_files(older_s=0.0) == 0
    assert ledger.frames([kept.frame_id])[kept.frame_id] == kept.atoms
    assert np.array_equal((ledger.get_arrays("evaluation") or {})["x"], np.arange(3.0))


def test_a_file_that_is_named_after_it_was_noted_stays(ledger: Ledger, database: Any) -> None:
    slow = visit(3)
    document = ledger._frame_document(slow.frame_id, slow.atoms)
    assert ledger.sweep_files() == 0
    database["frame"].insert_one(document)
    assert ledger.sweep_files(older_s=0.0) == 0
    assert ledger.frames([slow.frame_id])[slow.frame_id] == slow.atoms
    assert database["unused_file"].find_one({}) is None


def test_every_field_that_points_to_a_file_is_known_and_has_an_index(ledger: Ledger, database: Any) -> None:
    fields = {d._get_collection_name(): file_fields(d) for d in ledger._docs.all()}
    assert {name: found for name, found in fields.items() if found} == {
        "frame": ["atoms_file"],
        "label": ["forces_eV_per_A_file", "magnetic_moments_uB_file"],
        "array_set": ["file"],
    }
    for name, found in fields.items():
        keys = [index["key"][0][0] for index in database[name].index_information().values()]
        assert set(found) <= set(keys)
