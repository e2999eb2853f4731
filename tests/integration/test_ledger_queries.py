"""Queries of the ledger: always by an index, never by a count that a crash may have made wrong."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pymongo
import pytest
from ase.build import molecule

import al_loop
from al_loop.config import StoreSettings
from al_loop.ledger import Ledger, open_ledger
from al_loop.ledger.records import Runner
from al_loop.records import Frame, GateCheck, Role, Verdict, VerdictKind
from al_loop.utils.content_hash import frame_id
from dft_interfaces.label import Failure, Label, LabelStatus


def visit(seed: int, role: Role = Role.EXPLORE) -> Frame:
    atoms = molecule("H2O")
    atoms.rattle(0.1, seed=seed)
    verdict = Verdict(VerdictKind.SUSPECT, GateCheck.FORCE_UNCERTAINTY, "0.3 eV/Å", (1,), stop=seed % 5 == 0)
    vector = np.ones(3, dtype=np.float32)
    return Frame(frame_id(atoms), atoms, role, "water", "water/600K/0", seed, 600.0, verdict, 0.3, 1.7, vector)


@pytest.fixture
def database(store: StoreSettings) -> Iterator[Any]:
    with pymongo.MongoClient(store.uri) as client:
        yield client.get_default_database()


def everything(ledger: Ledger) -> None:
    """All queries of a campaign, its workers, status and report."""
    ledger.start_campaign({})
    for round_ in range(2):
        given = [visit(seed) for seed in range(20 * round_, 20 * round_ + 20)]
        ledger.replace_visits(round_, [Role.EXPLORE], given)
        frames = [entry.frame_id for entry in given]
        ledger.visits(round_, Role.EXPLORE, frames=frames[:3])
        ledger.visits(role=Role.EXPLORE)
        ledger.visits(kind=VerdictKind.SUSPECT)
        ledger.candidates(round_, Role.EXPLORE)
        ledger.descriptors(frames)
        ledger.before_failure(round_)
        ledger.verdict_counts(round_)
        ledger.verdicts(round_, Role.EXPLORE)
        ledger.explored_ids(round_)
        ledger.check_counts(round_, Role.EXPLORE)
        ledger.request_labels(round_, Role.EXPLORE, given[:6], ledger.campaign)
        for number in range(4):
            claimed = ledger.claim(f"worker-{number}", ledger.campaign, 60)
            assert claimed is not None
            assert ledger.heartbeat(claimed, 60)
            if number < 2:
                forces = np.zeros((3, 3))
                forces[0, 0] = 0.1
                forces[1, 0] = -0.1
                ledger.complete(claimed, Label(LabelStatus.CONVERGED, ledger.campaign, -1.0, forces, None, cost_s=1.0))
            else:
                ledger.complete(claimed, Label(LabelStatus.FAILED, ledger.campaign, failure=Failure.CRASH))
        ledger.claim("worker-9", ledger.campaign, 60)
        ledger.release_dead("worker-9")
        ledger.open_requests(round_)
        ledger.open_by_role(round_)
        ledger.requested(round_, Role.EXPLORE)
        ledger.mark_outliers(round_, {frames[0]: "far from the rest"})
        ledger.labelled(tuple(Role), converged_only=False)
        ledger.labelled([Role.EXPLORE], [round_])
        ledger.serve_model(ledger.add_model(round_, "model", "f", "c", {}), round_)
        ledger.event("note", "", round_)
        ledger.put_arrays("evaluation", {"x": np.zeros(3)})
        ledger.finish_stage(round_, "report", 1.0, {})
        ledger.defer(round_)
    ledger.waiting()
    ledger.take_incoming(2)
    ledger.served_model(before=1)
    ledger.served_model()
    ledger.models()
    ledger.events("note", 1)
    ledger.events()
    ledger.get_arrays("evaluation")
    ledger.sweep_files()
    ledger.duplicate_executions()
    ledger.campaign_config()
    leases(ledger)
    ledger.progress("report")
    ledger.stages(0)
    ledger.rounds()


def leases(ledger: Ledger) -> None:
    ledger.campaign_id()
    ledger.database_id()
    first, second = (Runner(token, "/run", "here", "", 1, "") for token in ("a", "b"))
    assert ledger.take_lease(None, first)
    assert ledger.take_lease(ledger.runner(), second)
    assert ledger.renew_lease("b")
    assert not ledger.renew_lease("a")
    ledger.release_lease("b")


def test_no_query_reads_a_whole_collection(store: StoreSettings, database: Any, tmp_path: Path) -> None:
    with open_ledger(store, tmp_path, "one") as ledger:
        everything(ledger)  # the plans of an empty collection are meaningless
    with open_ledger(store, tmp_path, "two") as ledger:
        database.command("profile", 2)
        try:
            everything(ledger)
            with open_ledger(store, tmp_path, "two"):
                pass
        finally:
            database.command("profile", 0)
    seen = [entry for entry in database["system.profile"].find() if "planSummary" in entry]
    assert len(seen) > 100
    # GridFS checks whether it has any file, which reads one document of a collection.
    scans = [entry for entry in seen if "COLLSCAN" in entry["planSummary"] and entry.get("docsExamined", 2) > 1]
    scanned = [(entry["ns"], entry["command"]) for entry in scans]
    assert scanned == []


def counts(tree: ast.AST) -> Iterator[str]:
    """Calls that count a whole collection: after kill -9 of the server they returned 0 for 5 documents."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name, nothing = node.func.attr, not node.args and not node.keywords
            unfiltered = bool(node.args) and isinstance(node.args[0], ast.Dict) and not node.args[0].keys
            counted = name == "count" and nothing
            if name == "estimated_document_count" or counted or (name == "count_documents" and (nothing or unfiltered)):
                yield ast.unparse(node)


def test_nothing_is_decided_by_an_unfiltered_count() -> None:
    package = Path(al_loop.__file__).parent / "ledger"  # nothing outside of it sees a collection
    found = {path.name: list(counts(ast.parse(path.read_text()))) for path in package.rglob("*.py")}
    assert {name: calls for name, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "wrong", ["a.objects.count()", "a.count_documents({})", "a.estimated_document_count()", "a(b=1).count()"]
)
def test_the_guard_sees_them(wrong: str) -> None:
    assert list(counts(ast.parse(wrong))) == [wrong]
    assert list(counts(ast.parse("a.count_documents({'b': 1}); 'text'.count('x'); a.count_documents(b)"))) == []
