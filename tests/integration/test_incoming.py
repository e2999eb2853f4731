"""What comes in from outside waits, once, until a round takes it; what a quorum leaves open, the next round has."""

import os
import signal
import threading
from datetime import UTC, datetime

import numpy as np
import pytest
from ase.build import molecule
from campaigns import add_labels
from mongoengine import ValidationError

from al_loop.config import StoreSettings, WatchSettings
from al_loop.ledger import open_ledger
from al_loop.ledger.base import raw
from al_loop.ledger.documents import Requester, StoredVerdict
from al_loop.ledger.incoming import Incoming, Watch
from al_loop.ledger.requests import NEVER
from al_loop.records import Frame, GateCheck, Role, Verdict, VerdictKind
from al_loop.utils.content_hash import frame_id
from dft_interfaces.label import Label, LabelStatus

LEVEL = "a level"


@pytest.fixture
def ledger(tmp_path):
    with open_ledger(StoreSettings(), tmp_path, "campaign") as ledger:
        yield ledger


def visit(seed, role=Role.HARVESTED, kind=VerdictKind.SUSPECT, order=None):
    atoms = molecule("CH3OH")
    atoms.rattle(0.1, seed=seed)
    atoms = atoms if order is None else atoms[order]
    verdict = Verdict(kind, GateCheck.FORCE_UNCERTAINTY)
    return Frame(frame_id(atoms), atoms, role, "methanol", f"production/{seed}", seed, 300.0, verdict)


def label(seed, energy_eV=-1.0):
    forces = np.random.default_rng(seed).normal(size=(6, 3))
    return Label(LabelStatus.CONVERGED, LEVEL, energy_eV, forces - forces.mean(axis=0))


def test_harvested_frames_wait_once_until_a_round_takes_them(ledger):
    given = [visit(1), visit(2), visit(3, kind=VerdictKind.TRUSTED)]
    assert ledger.add_harvested(given) == 3
    assert ledger.add_harvested(given) == 0
    assert ledger.waiting() == Incoming(suspects=2, labels=0)
    assert ledger.take_incoming(4) == ledger.take_incoming(4) == Incoming(suspects=2, labels=0)
    assert ledger.waiting() == Incoming(0, 0)
    assert {c.frame_id for c in ledger.candidates(4, Role.HARVESTED)} == {v.frame_id for v in given}
    assert ledger.add_harvested(given) == 0  # nor after a round has taken them
    ledger.replace_visits(4, [Role.EXPLORE], [])
    assert len(ledger.visits(4, Role.HARVESTED)) == 3
    with pytest.raises(ValueError, match="expected only harvested"):
        ledger.add_harvested([visit(5, Role.EXPLORE)])


def test_imported_labels_are_trained_on_from_the_round_that_takes_them(ledger):
    order = [3, 1, 0, 2, 5, 4]
    ledger.replace_visits(0, [Role.TEST], [visit(1, Role.TEST)])
    ledger.request_labels(0, Role.TEST, [visit(1, Role.TEST)], LEVEL)
    ledger.add_harvested([visit(2)])
    assert add_labels(ledger, [visit(1), visit(2, order=order)], [label(1), label(2)]) == 1
    assert ledger.open_requests() == 0  # the one that was waiting is answered, and stays held out
    assert [f.frame_id for f in ledger.labelled([Role.TEST])] == [visit(1).frame_id]
    assert ledger.waiting() == Incoming(suspects=1, labels=1)
    assert ledger.labelled([Role.EXPLORE], range(9)) == []
    ledger.take_incoming(2)
    (taken,) = ledger.labelled([Role.EXPLORE], [2])
    assert np.allclose(taken.label.forces_eV_per_A[order], label(2).forces_eV_per_A)
    assert ledger.requested(2, Role.EXPLORE) == [taken.frame_id]
    assert add_labels(ledger, [visit(2, order=order)], [label(2, -7.0)]) == 0
    assert ledger.labelled([Role.EXPLORE])[0].label.energy_eV == -1.0


def test_what_is_left_open_is_put_off_to_the_next_round(ledger):
    asked = [visit(seed, Role.EXPLORE) for seed in range(4)]
    ledger.replace_visits(0, [Role.EXPLORE], asked)
    ledger.request_labels(0, Role.EXPLORE, asked, LEVEL)
    first = ledger.claim("worker", LEVEL, 60)
    ledger.complete(first, label(0))
    held = ledger.claim("worker", LEVEL, 60)
    assert ledger.open_by_role(0) == {Role.EXPLORE: (3, 4)}
    for _ in range(2):
        ledger.defer(0)
        assert ledger.open_by_role(0) == {Role.EXPLORE: (0, 1)}
        assert ledger.open_by_role(1) == {Role.EXPLORE: (3, 3)}
    assert ledger.complete(held, label(1))
    assert [f.round for f in ledger.labelled([Role.EXPLORE])] == [0, 1]


def test_batches_follow_each_other_and_are_replaced_alone(ledger):
    first, second = [visit(1, Role.EXPLORE), visit(2, Role.EXPLORE)], [visit(3, Role.EXPLORE), visit(4, Role.EXPLORE)]
    ledger.replace_visits(0, [Role.EXPLORE], first)
    ledger.replace_visits(0, [Role.EXPLORE], [visit(9, Role.EXPLORE)], after=2)  # killed, and run again
    ledger.replace_visits(0, [Role.EXPLORE], second, after=2)
    assert [v.frame_id for v in ledger.visits(0, Role.EXPLORE)] == [v.frame_id for v in (*first, *second)]
    assert ledger.explored_ids(0, after=2) == {v.frame_id for v in second}
    ledger.replace_visits(0, [Role.EXPLORE], first)
    assert len(ledger.visits(0, Role.EXPLORE)) == 2


def test_watching_waits_for_enough_of_either_and_ends_with_ctrl_c(ledger):
    told = []
    watch = Watch(WatchSettings(suspects=2, labels=1, every_s=0.1), told.append)
    ledger.add_harvested([visit(1)])
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    assert not watch.wait(ledger)
    assert told[-1] == "The watching has ended."
    ledger.add_harvested([visit(2)])
    assert watch.wait(ledger)
    ledger.take_incoming(1)
    add_labels(ledger, [visit(3)], [label(3)])
    assert watch.wait(ledger)
    assert told[-1].startswith("0 harvested suspects and 1 imported")


def test_a_document_is_what_its_class_would_make_of_it_and_is_checked(ledger):
    checks = {GateCheck.PHYSICS.value: StoredVerdict(kind="trusted", reason=None)}
    want = Requester(campaign="c", round=0, role="test", order=1, system="s", trajectory="t")
    event = {"campaign": "c", "kind": "k", "time": datetime.fromtimestamp(1, UTC), "data": "{}", "message": None}
    request = {"id": "r", "frame": "f", "level": "l", "wanted_by": [want], "created_at": NEVER, "order": 3}
    visited = {"id": "v", "campaign": "c", "round": -1, "role": "x", "order": 0, "batch": "b", "frame": "f"}
    visited |= {"system": "s", "trajectory": "t", "step": 1, "temperature_K": 1.0, "kind": "k", "check": "l"}
    for document, values in (
        (ledger._docs.event, event),
        (ledger._docs.request, request | {"state": "done", "lease_until": NEVER}),
        (ledger._docs.visit, visited | {"stop": False, "checks": checks, "descriptor": b"1234"}),
        (ledger._docs.visit, visited | {"stop": True, "checks": {}}),
        (ledger._docs.frame, {"id": "f", "natoms": 3, "formula": "H2O"}),
    ):
        made = document(**values)
        made.validate()
        assert raw(document, **values) == made.to_mongo().to_dict()
    for wrong, told in (({"natoms": "many"}, "int"), ({"natoms": None}, "natoms"), ({"other": 1}, "other")):
        with pytest.raises(ValidationError, match=told):
            raw(ledger._docs.frame, **{"id": "f", "natoms": 3, "formula": "H2O", **wrong})
    with pytest.raises(ValidationError, match="must be one of"):
        raw(ledger._docs.request, **request, state="lost", lease_until=NEVER)
