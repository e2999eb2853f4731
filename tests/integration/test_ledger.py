"""The ledger on a real MongoDB: rounds, visits, models, events, arrays, and the connection to the server."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pymongo
import pytest
from ase import Atoms
from ase.build import molecule

from al_loop.config import StoreSettings
from al_loop.errors import InputError
from al_loop.ledger import Ledger, open_ledger
from al_loop.ledger.base import FORMAT
from al_loop.ledger.documents import SCHEMA_VERSION
from al_loop.records import Frame, GateCheck, Role, Verdict, VerdictKind
from al_loop.utils.content_hash import frame_id

SUSPECT = Verdict(VerdictKind.SUSPECT, GateCheck.FORCE_UNCERTAINTY, "0.31 eV/Å on atom 2", (2,))
TRUSTED = Verdict(VerdictKind.TRUSTED, GateCheck.NONE)


def frame(seed: int) -> Atoms:
    atoms = molecule("CH3OH")
    atoms.rattle(0.1, seed=seed)
    atoms.info.update(charge=0, spin=1)
    return atoms


def visit(seed: int, verdict: Verdict = SUSPECT, role: Role = Role.EXPLORE, atoms: Atoms | None = None) -> Frame:
    atoms = frame(seed) if atoms is None else atoms
    return Frame(frame_id(atoms), atoms, role, "methanol", "methanol/600K/0", seed, 600.0, verdict, 0.31, 1.7)


def same(left: Sequence[Frame], right: Sequence[Frame]) -> bool:
    plain = [[{**vars(entry), "atoms": None} for entry in visits] for visits in (left, right)]
    return plain[0] == plain[1] and all(a.atoms == b.atoms for a, b in zip(left, right, strict=True))


@pytest.fixture
def ledger(store: StoreSettings, tmp_path: Path) -> Ledger:
    with open_ledger(store, tmp_path, "one") as opened:
        yield opened


# Campaign and rounds


def test_a_campaign_starts_once(ledger: Ledger) -> None:
    assert ledger.campaign_config() is None
    ledger.start_campaign({"systems": {"methanol.xyz": [1, 2]}, "$odd": float("inf")})
    ledger.start_campaign({"other": True})
    assert ledger.campaign_config() == {"systems": {"methanol.xyz": [1, 2]}, "$odd": float("inf")}


def test_each_check_keeps_its_own_verdict_and_reason(ledger: Ledger) -> None:
    """Verdicts are stored also for frames on which another check decided."""
    words = {
        GateCheck.PHYSICS: Verdict(VerdictKind.TRUSTED, GateCheck.PHYSICS),
        GateCheck.FORCE_UNCERTAINTY: Verdict(VerdictKind.SUSPECT, GateCheck.FORCE_UNCERTAINTY, "0.31 eV/Å on atom 2"),
        GateCheck.LATENT_DISTANCE: Verdict(
            VerdictKind.SUSPECT, GateCheck.LATENT_DISTANCE, "latent distance 4.0 above 2.0"
        ),
    }
    broken = {GateCheck.PHYSICS: Verdict(VerdictKind.DISCARD, GateCheck.PHYSICS, "x" * 10_000)}
    met = [replace(visit(1), checks=words), replace(visit(2), checks=broken), visit(3)]
    ledger.replace_visits(0, (Role.EXPLORE,), met)
    again = ledger.visits(0)
    assert again[0].checks == words
    assert len(again[1].checks[GateCheck.PHYSICS].reason) == 300
    assert ledger.visits(0)[2].checks == {}
    assert ledger.check_counts(0, Role.EXPLORE) == {
        "physics": {"trusted": 1, "discard": 1},
        "force_uncertainty": {"suspect": 1},
        "latent_distance": {"suspect": 1},
    }
    assert ledger.check_counts(1, Role.EXPLORE) == {}


def test_stages_are_done_when_they_say_so(ledger: Ledger) -> None:
    assert ledger.stage_results(0, "explore") is None
    ledger.finish_stage(0, "explore", 1.5, {})
    ledger.finish_stage(0, "train", np.float64(2.0), {"mae": np.float32(0.5), "loss": float("nan")})
    ledger.finish_stage(1, "explore", 0.1, {"frames": 3})
    assert ledger.stage_results(0, "explore") == {}
    assert list(ledger.stages(0)) == ["explore", "train"]
    assert ledger.stages(0)["train"]["seconds"] == 2.0
    assert np.isnan(ledger.stages(0)["train"]["results"]["loss"])
    assert ledger.rounds() == [0, 1]


def test_a_stage_may_be_finished_again(ledger: Ledger) -> None:
    ledger.finish_stage(0, "explore", 1.0, {"frames": 1})
    ledger.finish_stage(0, "explore", 2.0, {"frames": 2})
    assert ledger.stages(0) == {"explore": {"seconds": 2.0, "results": {"frames": 2}}}


def test_results_that_json_cannot_hold_are_refused(ledger: Ledger) -> None:
    with pytest.raises(TypeError, match="Atoms"):
        ledger.finish_stage(0, "explore", 1.0, {"atoms": molecule("H2O")})
    with pytest.raises(ValueError, match=r"a\.b"):
        ledger.finish_stage(0, "a.b", 1.0, {})
    assert ledger.rounds() == []


def test_campaigns_do_not_see_each_other(ledger: Ledger, store: StoreSettings, tmp_path: Path) -> None:
    ledger.start_campaign({"name": "one"})
    ledger.finish_stage(0, "explore", 1.0, {})
    ledger.replace_visits(0, [Role.EXPLORE], [visit(1)])
    ledger.event("note", "mine")
    ledger.put_arrays("a", {"x": np.zeros(1)})
    with open_ledger(store, tmp_path, "two") as other:
        assert other.campaign_config() is None
        assert (other.rounds(), other.visits(), other.events(), other.models()) == ([], [], [], [])
        assert other.get_arrays("a") is None
        assert list(other.frames([frame_id(frame(1))])) == [frame_id(frame(1))]


def test_one_process_may_hold_two_databases(ledger: Ledger, mongo_uri: str, tmp_path: Path) -> None:
    name = "test_other_" + Path(tmp_path).name[-20:]
    elsewhere = StoreSettings(uri=mongo_uri.replace("/?", f"/{name}?"))
    with open_ledger(elsewhere, tmp_path, "one") as other:
        other.start_campaign({"database": 2})
        ledger.start_campaign({"database": 1})
        assert (ledger.campaign_config(), other.campaign_config()) == ({"database": 1}, {"database": 2})
        other.event("note", "kept apart")
        assert ledger.events() == []
    ledger.event("note", "still open")
    with pymongo.MongoClient(mongo_uri) as client:
        client.drop_database(name)


# Frames and visits


def test_visits_are_read_as_they_were_written(ledger: Ledger) -> None:
    given = [
        visit(5),
        visit(3, TRUSTED),
        visit(4, Verdict(VerdictKind.DISCARD, GateCheck.PHYSICS, "close", (0, 3), True)),
    ]
    ledger.replace_visits(2, [Role.EXPLORE], given)
    explored = [replace(frame, round=2) for frame in given]
    assert same(ledger.visits(2, Role.EXPLORE), explored)
    assert same(ledger.visits(kind=VerdictKind.TRUSTED), explored[1:2])
    assert ledger.visits(0) == ledger.visits(2, Role.TEST) == []


def test_verdicts_are_counted_by_check_and_kind(ledger: Ledger) -> None:
    ledger.replace_visits(0, [Role.EXPLORE], [visit(1), visit(2), visit(3, TRUSTED)])
    ledger.replace_visits(0, [Role.TEST], [visit(4, TRUSTED, Role.TEST)])
    ledger.replace_visits(1, [Role.EXPLORE], [visit(5)])
    assert ledger.verdict_counts(0) == {"force_uncertainty": {"suspect": 2}, "none": {"trusted": 2}}
    assert ledger.verdict_counts(0, Role.EXPLORE) == {"force_uncertainty": {"suspect": 2}, "none": {"trusted": 1}}
    assert ledger.verdict_counts(7) == {}


def test_replacing_visits_touches_only_the_roles_that_were_named(ledger: Ledger) -> None:
    test, calibration = visit(1, role=Role.TEST), visit(2, role=Role.CALIBRATION)
    ledger.replace_visits(0, [Role.TEST, Role.CALIBRATION], [test, calibration])
    ledger.replace_visits(0, [Role.EXPLORE], [visit(3), visit(4)])
    ledger.replace_visits(0, [Role.EXPLORE], [visit(4), visit(5)])
    assert same(ledger.visits(role=Role.EXPLORE), [visit(4), visit(5)])
    assert same(ledger.visits(role=Role.TEST), [test])
    ledger.replace_visits(0, [Role.TEST, Role.CALIBRATION], [])
    assert [entry.role for entry in ledger.visits()] == [Role.EXPLORE] * 2
    with pytest.raises(ValueError, match="test"):
        ledger.replace_visits(0, [Role.EXPLORE], [test])


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_ledger import *
with open_ledger(StoreSettings(uri=sys.argv[2]), Path(), "one") as ledger:
    visits = [visit(seed) for seed in range(1000, 1400)]
    print("begin", flush=True)
    ledger.replace_visits(0, [Role.EXPLORE], visits)
    print("end", flush=True)
"""


@pytest.mark.parametrize("seconds", [0.1, 0.3])
def test_a_kill_in_the_middle_leaves_nothing_behind(ledger: Ledger, store: StoreSettings, seconds: float) -> None:
    ledger.replace_visits(0, [Role.EXPLORE], [visit(seed) for seed in range(950, 1050)])
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), store.uri or ""]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begin\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    expected = [visit(seed) for seed in range(1000, 1400)]
    ledger.replace_visits(0, [Role.EXPLORE], expected)
    assert same(ledger.visits(0), expected)


def test_nothing_finite_is_needed(ledger: Ledger) -> None:
    broken = frame(1)
    broken.positions[2] = (np.nan, np.inf, 0.0)
    verdict = Verdict(VerdictKind.DISCARD, GateCheck.PHYSICS, "positions are not finite", (2,), True)
    given = Frame(frame_id(broken), broken, Role.EXPLORE, "m", "m/0", 1, float("nan"), verdict, float("inf"), None)
    ledger.replace_visits(0, [Role.EXPLORE], [given])
    (found,) = ledger.visits()
    assert np.array_equal(found.atoms.positions, broken.positions, equal_nan=True)
    assert np.isnan(found.temperature_K)
    assert (found.force_uncertainty_eV_per_A, found.latent_distance) == (np.inf, None)


def test_the_first_order_of_atoms_is_kept_and_verdicts_are_reordered_to_it(
    ledger: Ledger, store: StoreSettings, tmp_path: Path
) -> None:
    first = frame(1)
    turned = first[[5, 0, 3, 2, 4, 1]]
    turned.info = first.info
    with open_ledger(store, tmp_path, "two") as other:
        other.replace_visits(0, [Role.EXPLORE], [visit(1, atoms=first)])
    about = Verdict(VerdictKind.SUSPECT, GateCheck.PHYSICS, "these two", (1, 0))
    ledger.replace_visits(0, [Role.EXPLORE], [visit(1, about, atoms=turned)])
    (found,) = ledger.visits()
    assert found.atoms == first
    assert found.verdict.atoms == (0, 5)


def test_two_orders_of_one_frame_in_one_call(ledger: Ledger) -> None:
    first = frame(1)
    turned = first[::-1]
    turned.info = first.info
    ledger.replace_visits(0, [Role.EXPLORE], [visit(1, atoms=first), visit(1, atoms=turned)])
    ledger.replace_visits(1, [Role.EXPLORE], [visit(2, atoms=turned)])
    assert [entry.atoms == first for entry in ledger.visits()] == [True, True]
    assert [entry.verdict.atoms for entry in ledger.visits()] == [(2,), (3,)]


def test_everything_that_a_calculation_needs_survives(ledger: Ledger) -> None:
    atoms = Atoms("FeO", [(0, 0, 0), (0, 0, 1.6)], cell=[4, 5, 6, 80, 90, 100], pbc=(True, False, True))
    atoms.set_initial_magnetic_moments([2.2, -0.5])
    atoms.info.update(charge=-1, spin=5)
    ledger.replace_visits(0, [Role.EXPLORE], [visit(0, atoms=atoms)])
    found = ledger.frames([frame_id(atoms), "unknown"])
    assert list(found) == [frame_id(atoms)]
    (stored,) = found.values()
    assert stored == atoms
    assert stored.info == {"charge": -1, "spin": 5}
    assert frame_id(stored) == frame_id(atoms)


def test_each_visit_has_its_own_atoms(ledger: Ledger) -> None:
    ledger.replace_visits(0, [Role.EXPLORE], [visit(1)])
    ledger.replace_visits(1, [Role.EXPLORE], [visit(1)])
    first, second = ledger.visits()
    first.atoms.positions[:] = 0
    assert second.atoms == frame(1)


# Models, events, arrays


def test_models_are_recorded_and_served(ledger: Ledger) -> None:
    assert ledger.served_model() is None
    first = ledger.add_model(0, "round-000", "f", "a", {"labels": 12})
    assert ledger.add_model(0, "round-000", "f", "b", {"labels": 13}) == first
    second = ledger.add_model(1, "round-001", "f", "c", {})
    ledger.serve_model(first, 0)
    ledger.serve_model(second, 1)
    ledger.serve_model(second, 1)
    served = ledger.served_model()
    assert served is not None
    assert (served.model_id, served.round, served.path, served.served_since) == (second, 1, "round-001", 1)
    assert [ledger.served_model(before=round_) for round_ in (0, 1, 2)] == [None, *ledger.models()]
    models = [(model.model_id, model.checkpoint, model.info) for model in ledger.models()]
    assert models == [(first, "b", {"labels": 13}), (second, "c", {})]
    with pytest.raises(ValueError, match="no model nonsense"):
        ledger.serve_model("nonsense", 1)


def test_events_are_kept_in_order(ledger: Ledger) -> None:
    before = time.time()
    for number in range(20):
        ledger.event("note", f"event {number}", 1, number=number)
    ledger.event("end", "")
    events = ledger.events()
    assert [event.data.get("number") for event in events] == [*range(20), None]
    assert (events[0].kind, events[0].message, events[0].round, events[-1].round) == ("note", "event 0", 1, None)
    assert before - 1 < events[0].time.timestamp() < time.time() + 1


def test_large_arrays_come_back_bit_for_bit(ledger: Ledger) -> None:
    given = {
        "noise": np.random.default_rng(0).normal(size=(3, 1_000_000)),
        "names": np.array(["süß", "b"]),
        "nothing": np.zeros((0, 3)),
        "nan": np.array([np.nan, np.inf]),
    }
    ledger.put_arrays("evaluation/0", given)
    found = ledger.get_arrays("evaluation/0")
    assert found is not None
    assert {name: (a.dtype, a.shape, a.tobytes()) for name, a in found.items()} == {
        name: (a.dtype, a.shape, a.tobytes()) for name, a in given.items()
    }
    assert ledger.get_arrays("evaluation/1") is None


def test_arrays_of_objects_are_refused(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="pickle"):
        ledger.put_arrays("a", {"x": np.array([{}])})
    assert ledger.get_arrays("a") is None


def test_a_reader_sees_all_old_or_all_new_arrays(ledger: Ledger, store: StoreSettings) -> None:
    ledger.put_arrays("a", {"x": np.zeros(100_000), "y": np.zeros(1)})
    done = threading.Event()

    def write() -> None:
        for number in range(1, 40):
            ledger.put_arrays("a", {"x": np.full(100_000, number), "y": np.full(1, number)})
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        found = ledger.get_arrays("a")
        assert found is not None
        seen.add(float(found["y"][0]))
        assert (found["x"] == found["y"]).all()
    writer.join()
    assert len(seen) > 1
    with pymongo.MongoClient(store.uri) as client:
        assert client.get_default_database()["arrays.files"].count_documents({"filename": "one/a"}) == 1


# Reaching the server


def test_without_a_uri_there_is_a_private_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MONGODB_URI", raising=False)
    with open_ledger(StoreSettings(), tmp_path, "one") as ledger:
        ledger.start_campaign({"a": 1})
        pid = int((tmp_path / "ledger" / "data" / "mongod.lock").read_text())
    assert (tmp_path / "ledger" / "data" / "mongod.lock").read_text() == "", f"mongod {pid} still runs"
    with open_ledger(StoreSettings(), tmp_path, "one") as ledger:
        assert ledger.campaign_config() == {"a": 1}


def test_the_environment_names_a_server(store: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGODB_URI", store.uri or "")
    with open_ledger(StoreSettings(), tmp_path, "one") as ledger:
        ledger.start_campaign({})
    assert list(tmp_path.iterdir()) == []
    with pymongo.MongoClient(store.uri) as client:
        assert client.get_default_database()["campaign"].find_one({"_id": "one"}) is not None


def refusal(uri: str, folder: Path) -> str:
    begun = time.monotonic()
    with pytest.raises(InputError) as caught, open_ledger(StoreSettings(uri=uri), folder, "one"):
        pass
    assert time.monotonic() - begun < 8
    assert list(folder.iterdir()) == []
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    return str(caught.value)


@pytest.mark.enable_socket
def test_an_unreachable_server_is_named_without_credentials(tmp_path: Path) -> None:
    message = refusal("mongodb://somebody:s3cret@127.0.0.1:9/al_loop?tls=false", tmp_path)
    assert "127.0.0.1:9 did not answer within 5 s" in message
    assert "MONGODB_URI" in message
    assert "s3cret" not in message
    assert "somebody" not in message


def test_wrong_credentials_are_named_without_credentials(mongo_uri: str, tmp_path: Path) -> None:
    message = refusal(mongo_uri.replace("mongodb://", "mongodb://somebody:s3cret@"), tmp_path)
    assert "refused the connection" in message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://somebody:s3c/ret@host:27017/db",
        "mongodb://somebody:s3c@ret@host:27017/db",
        "mongodb://somebody:s3cret@host:notaport",
        "postgres://somebody:s3cret@host",
        "somebody:s3cret@host",
        "mongodb://somebody:s3cret@host/?w=0",
        "mongodb://somebody:s3cret@host/?authMechanism=nonsense",
    ],
)
def test_a_wrong_uri_is_explained_without_credentials(uri: str, tmp_path: Path) -> None:
    message = refusal(uri, tmp_path)
    assert "cannot be used" in message
    assert "mongodb://user:password@host:port/database" in message
    assert "s3c" not in message


WRITERS: list[Callable[[Ledger], object]] = [
    lambda ledger: ledger.start_campaign({}),
    lambda ledger: ledger.finish_stage(0, "train", 1.0, {}),
    lambda ledger: ledger.replace_visits(0, [Role.EXPLORE], [visit(1)]),
    lambda ledger: ledger.request_labels(0, Role.EXPLORE, [visit(1)], "level"),
    lambda ledger: ledger.serve_model(ledger.add_model(0, "p", "f", "c", {}), 0),
    lambda ledger: ledger.event("note", ""),
    lambda ledger: ledger.put_arrays("a", {}),
]


def test_every_document_carries_its_version(ledger: Ledger, store: StoreSettings) -> None:
    for write in WRITERS:
        write(ledger)
    with pymongo.MongoClient(store.uri) as client:
        database = client.get_default_database()
        names = [name for name in database.list_collection_names() if not name.startswith(("arrays.", FORMAT))]
        documents = {name: list(database[name].find({})) for name in names}
    assert {name for name, found in documents.items() if found} == {
        "campaign", "round", "frame", "visit", "request", "model", "event", "array_set",
    }  # fmt: skip
    assert {document["schema_version"] for found in documents.values() for document in found} == {SCHEMA_VERSION}
