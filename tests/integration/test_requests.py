"""Label requests on a real MongoDB: stored once, claimed by one worker at a time, fulfilled once."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pymongo
import pytest
from ase import Atoms
from ase.build import molecule
from campaigns import make_campaign

from al_loop import load_config
from al_loop.config import StoreSettings
from al_loop.ledger import ClaimedRequest, Ledger, open_ledger
from al_loop.records import Frame, GateCheck, LabelledFrame, Role, Verdict, VerdictKind
from al_loop.stages.label.budget import round_budget
from al_loop.utils.content_hash import frame_id, request_id
from dft_interfaces.label import Attempt, Failure, Label, LabelStatus

LEVEL = "0123456789abcdef"
VERDICT = Verdict(VerdictKind.SUSPECT, GateCheck.UNCALIBRATED)


def visit(seed: int, role: Role = Role.EXPLORE, atoms: Atoms | None = None) -> Frame:
    if atoms is None:
        atoms = molecule("H2O")
        atoms.rattle(0.1, seed=seed)
    return Frame(frame_id(atoms), atoms, role, "water", f"water/600K/{seed}", seed, 600.0, VERDICT)


def request(ledger: Ledger, *seeds: int, round_: int = 0, role: Role = Role.EXPLORE, level: str = LEVEL) -> list[Frame]:
    visits = [visit(seed, role) for seed in seeds]
    ledger.replace_visits(round_, [role], visits)
    ledger.request_labels(round_, role, visits, level)
    return visits


def label(energy: float = -1.0, natoms: int = 3) -> Label:
    forces = np.arange(3.0 * natoms).reshape(natoms, 3)
    return Label(LabelStatus.CONVERGED, LEVEL, energy, forces, np.arange(6.0), 0.5)


def take(ledger: Ledger, worker: str = "worker-0") -> ClaimedRequest:
    claimed = ledger.claim(worker, LEVEL, 60.0)
    assert claimed is not None
    return claimed


def expire_leases(ledger: Ledger) -> None:
    """Release all claims, as another worker does when leases have expired."""
    for holder in ledger.holders():
        assert ledger.take_back(holder)


@pytest.fixture
def ledger(store: StoreSettings, tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(store, tmp_path, "one") as opened:
        yield opened


@pytest.fixture
def other(store: StoreSettings, tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(store, tmp_path, "two") as opened:
        yield opened


def test_a_request_is_claimed_and_fulfilled_once(ledger: Ledger) -> None:
    (wanted,) = request(ledger, 1)
    assert (ledger.open_requests(), ledger.open_requests(0), ledger.open_requests(1)) == (1, 1, 0)
    claimed = take(ledger)
    assert claimed.request_id == request_id(wanted.frame_id, LEVEL)
    assert (claimed.frame_id, claimed.atoms, claimed.level, claimed.attempt) == (
        wanted.frame_id,
        wanted.atoms,
        LEVEL,
        1,
    )
    assert ledger.claim("worker-1", LEVEL, 60.0) is None
    assert ledger.open_requests() == 1
    assert ledger.complete(claimed, label())
    assert ledger.open_requests() == 0
    (done,) = ledger.labelled([Role.EXPLORE])
    assert (done.frame_id, done.atoms, done.role, done.round) == (wanted.frame_id, wanted.atoms, Role.EXPLORE, 0)
    assert (done.system, done.trajectory, done.converged) == ("water", "water/600K/1", True)
    assert (done.label.energy_eV, done.label.cost_s, done.label.level_of_theory) == (-1.0, 0.5, LEVEL)
    assert np.array_equal(done.label.forces_eV_per_A, label().forces_eV_per_A)
    assert np.array_equal(done.label.stress_eV_per_A3, label().stress_eV_per_A3)


def test_a_repeated_request_changes_nothing(ledger: Ledger) -> None:
    request(ledger, 1, 2)
    first = take(ledger)
    ledger.complete(first, label())
    request(ledger, 1, 2)
    assert ledger.open_requests() == 1
    assert [done.frame_id for done in ledger.labelled([Role.EXPLORE])] == [first.frame_id]
    ledger.complete(take(ledger), label())
    assert ledger.claim("worker-0", LEVEL, 60.0) is None


def test_requests_are_calculated_in_the_order_of_their_creation(ledger: Ledger) -> None:
    expected = [entry.frame_id for entry in request(ledger, 5, 3, 4)] + [
        entry.frame_id for entry in request(ledger, 1, round_=1)
    ]
    assert [take(ledger).frame_id for _ in range(4)] == expected


def test_labelled_frames_are_chosen_by_role_and_round(ledger: Ledger) -> None:
    request(ledger, 1, role=Role.TEST)
    request(ledger, 2, 3)
    request(ledger, 4, round_=1)
    while claimed := ledger.claim("worker-0", LEVEL, 60.0):
        ledger.complete(claimed, label())
    frames = {seed: visit(seed).frame_id for seed in range(5)}
    assert [done.frame_id for done in ledger.labelled([Role.TEST])] == [frames[1]]
    assert [done.frame_id for done in ledger.labelled([Role.EXPLORE])] == [frames[2], frames[3], frames[4]]
    assert [done.frame_id for done in ledger.labelled(tuple(Role), (0,))] == [frames[2], frames[3], frames[1]]
    assert ledger.labelled([Role.EXPLORE], ()) == ledger.labelled([]) == []


def test_what_was_held_out_is_never_trained_on(ledger: Ledger) -> None:
    request(ledger, 1, role=Role.TEST)
    request(ledger, 1, 2, role=Role.EXPLORE, round_=1)
    while claimed := ledger.claim("worker-0", LEVEL, 60.0):
        ledger.complete(claimed, label())
    assert [done.frame_id for done in ledger.labelled([Role.EXPLORE])] == [visit(2).frame_id]
    assert [done.frame_id for done in ledger.labelled([Role.TEST])] == [visit(1).frame_id]


def test_levels_of_theory_do_not_mix(ledger: Ledger) -> None:
    request(ledger, 1)
    assert ledger.claim("worker-0", "another level", 60.0) is None
    request(ledger, 1, level="another level")
    assert ledger.open_requests() == 2
    assert take(ledger).level == LEVEL


def test_campaigns_use_each_others_labels(ledger: Ledger, other: Ledger) -> None:
    request(ledger, 1)
    assert other.claim("worker-0", LEVEL, 60.0) is None
    ledger.complete(take(ledger), label(-7.0))
    assert other.labelled([Role.TEST]) == []
    request(other, 1, role=Role.TEST, round_=3)
    assert other.open_requests() == 0
    (reused,) = other.labelled([Role.TEST])
    assert (reused.round, reused.label.energy_eV) == (3, -7.0)
    assert [done.role for done in ledger.labelled(tuple(Role))] == [Role.EXPLORE]


def test_labels_keep_the_order_of_atoms_that_is_stored(ledger: Ledger, other: Ledger) -> None:
    request(other, 1)
    turned = visit(1).atoms[[2, 0, 1]]
    mine = visit(1, atoms=turned)
    ledger.replace_visits(0, [Role.EXPLORE], [mine])
    ledger.request_labels(0, Role.EXPLORE, [mine], LEVEL)
    claimed = take(ledger)
    assert claimed.atoms == visit(1).atoms
    ledger.complete(claimed, replace(label(), forces_eV_per_A=claimed.atoms.positions.copy()))
    for campaign in (ledger, other):
        (done,) = campaign.labelled([Role.EXPLORE])
        assert np.array_equal(done.label.forces_eV_per_A, done.atoms.positions)


def test_a_lost_lease_cannot_overwrite(ledger: Ledger) -> None:
    request(ledger, 1)
    slow = take(ledger, "slow")
    expire_leases(ledger)
    quick = take(ledger, "quick")
    assert (quick.request_id, quick.attempt) == (slow.request_id, 2)
    assert not ledger.heartbeat(slow, 60.0)
    assert not ledger.complete(slow, label(-1.0))
    assert ledger.labelled([Role.EXPLORE]) == []
    assert ledger.complete(quick, label(-2.0))
    assert not ledger.complete(slow, label(-3.0))
    assert [done.label.energy_eV for done in ledger.labelled([Role.EXPLORE])] == [-2.0]
    assert ledger.duplicate_executions() == 1


def test_a_failure_with_a_lost_lease_cannot_overwrite(ledger: Ledger) -> None:
    request(ledger, 1)
    slow = take(ledger, "slow")
    expire_leases(ledger)
    assert ledger.complete(take(ledger, "quick"), label())
    assert not ledger.complete(slow, Label(LabelStatus.FAILED, LEVEL, message="late"))
    assert [done.converged for done in ledger.labelled([Role.EXPLORE], converged_only=False)] == [True]


def test_a_finished_label_is_not_calculated_again_when_its_worker_lost_the_race_and_the_other_died(
    ledger: Ledger,
) -> None:
    request(ledger, 1)
    slow = take(ledger, "slow")
    expire_leases(ledger)
    take(ledger, "dies")
    assert not ledger.complete(slow, label(-5.0))
    expire_leases(ledger)
    assert ledger.claim("third", LEVEL, 60.0) is None
    assert [done.label.energy_eV for done in ledger.labelled([Role.EXPLORE])] == [-5.0]
    assert (ledger.open_requests(), ledger.duplicate_executions()) == (0, 0)


def test_completing_twice_is_completing_once(ledger: Ledger) -> None:
    request(ledger, 1)
    claimed = take(ledger)
    assert ledger.complete(claimed, label())
    assert ledger.complete(claimed, label())
    assert len(ledger.labelled([Role.EXPLORE])) == 1
    assert ledger.duplicate_executions() == 0


def test_a_heartbeat_keeps_a_request(ledger: Ledger) -> None:
    request(ledger, 1)
    claimed = take(ledger, "alive")
    for lease_s in (60.0, 0.001, 90.0):  # a lease that is over frees nothing by itself
        (seen,) = ledger.holders()
        assert ledger.heartbeat(claimed, lease_s)
        assert ledger.claim("thief", LEVEL, 60.0) is None
        assert not ledger.take_back(seen)
    assert ledger.complete(claimed, label())


def test_a_request_that_kills_its_workers_fails(ledger: Ledger) -> None:
    request(ledger, 1, 2)
    killer = visit(1).frame_id
    for attempt in (1, 2, 3):
        claimed = take(ledger, f"worker-{attempt}")
        assert (claimed.frame_id, claimed.attempt) == (killer, attempt)
        expire_leases(ledger)
    assert take(ledger).frame_id == visit(2).frame_id
    (failed,) = ledger.labelled([Role.EXPLORE], converged_only=False)
    assert (failed.frame_id, failed.label.status) == (killer, LabelStatus.FAILED)
    assert "3 attempts" in failed.label.message
    assert "worker-3" in failed.label.message


def test_requests_of_dead_workers_are_released(ledger: Ledger, other: Ledger) -> None:
    request(ledger, 1, 2, 3)
    request(other, 3, 4)
    held = [take(ledger, worker) for worker in ("worker-0-17", "worker-1-18")]
    take(other, "worker-0-17")
    assert ledger.release_dead("worker-0") == 1
    again = take(ledger, "worker-0-99")
    assert (again.frame_id, again.attempt) == (held[0].frame_id, 1)
    assert not ledger.complete(held[0], Label(LabelStatus.FAILED, LEVEL))
    assert ledger.release_dead("worker", count_attempt=True) == 2
    assert sorted(take(ledger).attempt for _ in range(2)) == [2, 2]
    assert ledger.claim("worker-2", LEVEL, 60.0) is None


def test_attempts_of_requests_that_share_a_dead_worker_do_not_count(ledger: Ledger) -> None:
    request(ledger, 1, 2)
    for _ in range(5):
        assert [take(ledger, "worker-0").attempt for _ in range(2)] == [1, 1]
        assert ledger.release_dead("worker-0", count_attempt=True) == 2
    assert take(ledger, "worker-0").attempt == 1
    assert ledger.release_dead("worker-0", count_attempt=True) == 1
    assert sorted(take(ledger).attempt for _ in range(2)) == [1, 2]


def test_requests_of_a_worker_without_heartbeat_are_released(ledger: Ledger) -> None:
    request(ledger, 1)
    stalled = take(ledger, "stalled")
    (seen,) = ledger.holders()
    assert ledger.claim("other", LEVEL, 60.0) is None
    assert ledger.heartbeat(stalled, 60.0)
    assert not ledger.take_back(seen)
    (seen,) = ledger.holders()
    assert ledger.take_back(seen)
    again = ledger.claim("other", LEVEL, 60.0)
    assert again is not None
    assert again.attempt == 2
    assert not ledger.complete(stalled, label(-1.0))
    assert ledger.complete(again, label(-2.0))


def test_a_campaign_that_is_killed_often_loses_no_request(ledger: Ledger) -> None:
    request(ledger, 1)
    for _ in range(10):
        assert take(ledger, "worker-0").attempt == 1
        assert ledger.release_dead("worker") == 1
    assert ledger.complete(take(ledger), label())


@pytest.mark.parametrize("name", ["$worker", ".*", "worker-(1)", "worker-1"])
def test_a_workers_name_is_only_a_name(ledger: Ledger, name: str) -> None:
    request(ledger, 1, 2, 3)
    for worker in ("plain", name, name + "0"):
        take(ledger, worker)
    assert ledger.release_dead(name) == 1


def test_the_attempts_of_a_label_are_recorded(ledger: Ledger) -> None:
    request(ledger, 1)
    attempts = (
        Attempt("first try", LabelStatus.UNCONVERGED, Failure.UNCONVERGED, None, 2.0, "cycle= 100"),
        Attempt("slow mixing", LabelStatus.CONVERGED, None, -31.5, 4.0),
    )
    moments = np.linspace(-1, 1, 3)
    made = replace(label(), attempts=attempts, magnetic_moments_uB=moments, message="converged in try 2")
    assert ledger.complete(take(ledger), made)
    (found,) = ledger.labelled([Role.EXPLORE])
    assert (found.label.attempts, found.label.failure) == (attempts, None)
    assert found.label.magnetic_moments_uB.tolist() == moments.tolist()


def test_a_label_of_an_older_version_has_no_attempts(ledger: Ledger) -> None:
    request(ledger, 1)
    ledger.complete(take(ledger), Label(LabelStatus.FAILED, LEVEL, message="why", failure=Failure.DISK))
    (new,) = ledger.labelled([Role.EXPLORE], converged_only=False)
    assert new.label.failure is Failure.DISK
    ledger._collection(ledger._docs.label).update_many({}, {"$unset": {"failure": 1, "attempts": 1}})
    (old,) = ledger.labelled([Role.EXPLORE], converged_only=False)
    assert (old.label.failure, old.label.attempts, old.label.magnetic_moments_uB) == (None, (), None)


def test_an_outlier_is_kept_from_its_campaign_alone(ledger: Ledger, other: Ledger) -> None:
    request(ledger, 1, 2)
    request(other, 1, 2)
    for _ in range(2):
        ledger.complete(take(ledger), label())
    bad, good = (frame.frame_id for frame in ledger.labelled([Role.EXPLORE]))
    for _ in range(2):
        ledger.mark_outliers(0, {bad: "far off"})
        assert [frame.frame_id for frame in ledger.labelled([Role.EXPLORE])] == [good]
    (marked,) = [f for f in ledger.labelled([Role.EXPLORE], converged_only=False) if not f.converged]
    assert (marked.label.failure, marked.label.energy_eV) == (Failure.OUTLIER, None)
    assert marked.label.message.startswith("far off")
    assert len(ledger.labelled([Role.EXPLORE], with_outliers=True)) == 2
    assert len(other.labelled([Role.EXPLORE])) == 2
    ledger.mark_outliers(0, {})
    assert len(ledger.labelled([Role.EXPLORE])) == 2


@pytest.mark.parametrize("status", [LabelStatus.FAILED, LabelStatus.UNCONVERGED, LabelStatus.REJECTED])
def test_failures_are_recorded(ledger: Ledger, status: LabelStatus) -> None:
    request(ledger, 1)
    assert ledger.complete(take(ledger), Label(status, LEVEL, cost_s=3.0, message="x" * 50_000 + "the reason"))
    assert ledger.labelled([Role.EXPLORE]) == []
    (failed,) = ledger.labelled([Role.EXPLORE], converged_only=False)
    assert (failed.label.status, failed.label.cost_s, failed.label.energy_eV) == (status, 3.0, None)
    assert failed.label.message.endswith("the reason")
    assert ledger.open_requests() == 0
    assert ledger.claim("worker-0", LEVEL, 60.0) is None


@pytest.mark.parametrize(
    ("flawed", "reason"),
    [
        (replace(label(), energy_eV=float("nan")), "energy nan"),
        (replace(label(), energy_eV=None), "no energy"),
        (replace(label(), forces_eV_per_A=None), "no forces"),
        (replace(label(), forces_eV_per_A=np.full((3, 3), np.inf)), "non-finite forces"),
        (replace(label(), stress_eV_per_A3=np.full(6, np.nan)), "the stress [nan"),
        (replace(label(), stress_eV_per_A3=np.zeros((3, 3))), "a stress of shape"),
        (label(natoms=2), "forces of shape (2, 3), expected (3, 3)"),
        (replace(label(), level_of_theory="other"), f"level of theory other, expected {LEVEL}"),
    ],
)
def test_labels_that_cannot_be_trained_on_are_rejected(ledger: Ledger, flawed: Label, reason: str) -> None:
    request(ledger, 1)
    assert ledger.complete(take(ledger), flawed)
    assert ledger.labelled([Role.EXPLORE]) == []
    (rejected,) = ledger.labelled([Role.EXPLORE], converged_only=False)
    assert rejected.label.status is LabelStatus.REJECTED
    assert reason in rejected.label.message


def test_a_label_needs_no_stress(ledger: Ledger) -> None:
    request(ledger, 1)
    assert ledger.complete(take(ledger), replace(label(), stress_eV_per_A3=None))
    (done,) = ledger.labelled([Role.EXPLORE])
    assert done.label.stress_eV_per_A3 is None
    np.testing.assert_array_equal(done.label.forces_eV_per_A, label().forces_eV_per_A)


CLAIMER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_requests import *
with open_ledger(StoreSettings(uri=sys.argv[2]), Path(), "one") as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    while claimed := ledger.claim(sys.argv[3], LEVEL, 60.0):
        print(claimed.request_id, ledger.complete(claimed, label()), flush=True)
"""


def test_processes_never_claim_the_same_request(ledger: Ledger, store: StoreSettings) -> None:
    visits = request(ledger, *range(200))
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMER, str(Path(__file__).parent), store.uri or "", f"worker-{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    shares = [worker.communicate(timeout=120)[0].splitlines() for worker in workers]
    claims = Counter(line for share in shares for line in share)
    assert claims == Counter(f"{request_id(entry.frame_id, LEVEL)} True" for entry in visits)
    assert sum(bool(share) for share in shares) > 1
    assert len(ledger.labelled([Role.EXPLORE])) == 200
    with pymongo.MongoClient(store.uri) as client:
        assert client.get_default_database()["label"].count_documents({"status": "converged"}) == 200


def test_requesting_from_two_campaigns_at_once_makes_one_request(ledger: Ledger, store: StoreSettings) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nsys.path.insert(0, sys.argv[1])\nfrom test_requests import *\n"
        "with open_ledger(StoreSettings(uri=sys.argv[2]), Path(), sys.argv[3]) as ledger:\n"
        "    print('ready', flush=True); sys.stdin.readline(); request(ledger, *range(200))\n"
    )
    campaigns = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(Path(__file__).parent), store.uri or "", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two", "three")
    ]
    for campaign in campaigns:
        assert campaign.stdout is not None
        assert campaign.stdout.readline() == "ready\n"
    for campaign in campaigns:
        campaign.communicate("go\n", timeout=120)
    assert [campaign.returncode for campaign in campaigns] == [0, 0, 0]
    with pymongo.MongoClient(store.uri) as client:
        requests = list(client.get_default_database()["request"].find({}))
    assert len(requests) == 200
    assert {tuple(sorted(want["campaign"] for want in request["wanted_by"])) for request in requests} == {
        ("one", "three", "two")
    }
    assert ledger.open_requests() == 200


def test_a_label_that_ends_while_a_budget_is_read_is_counted(ledger: Ledger, tmp_path: Path, monkeypatch) -> None:
    """The budget allows ten labels of 0.5 s; one has ended, and another ends between two queries: eight are left."""
    engine = {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}
    campaign = make_campaign(tmp_path, stop={"label_core_hours": 5.001 / 3600}, label={"workers": 2, "engine": engine})
    config = load_config(campaign.config)
    request(ledger, 1, 2)
    ledger.complete(take(ledger), label())
    claimed, read = take(ledger), Ledger.labelled

    def ends_meanwhile(self: Ledger, *args: Any, **kwargs: Any) -> list[LabelledFrame]:
        found = read(self, *args, **kwargs)
        if ledger.open_requests():
            ledger.complete(claimed, label())
        return found

    monkeypatch.setattr(Ledger, "labelled", ends_meanwhile)
    ended, calculating = ledger.ended_and_open(range(1))
    assert (len(ended), calculating) == (2, 0)
    assert round_budget(config, 0, 100, 2, ended, calculating, estimate_h=1.0) == 8
