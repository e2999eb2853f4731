"""Structures and labels of any size: inline in documents if they fit, otherwise in GridFS."""

from pathlib import Path

import numpy as np
import pymongo
import pytest
from ase import Atoms

from al_loop.config import StoreSettings
from al_loop.errors import CampaignError
from al_loop.ledger import Ledger, open_ledger
from al_loop.records import Frame, GateCheck, Role, Verdict, VerdictKind
from al_loop.utils.content_hash import frame_id
from dft_interfaces.label import Label, LabelStatus

MEMBERS = 16


def visit(atoms: Atoms, about: tuple[int, ...] = ()) -> Frame:
    verdict = Verdict(VerdictKind.SUSPECT, GateCheck.FORCE_UNCERTAINTY, "all of it", about)
    return Frame(frame_id(atoms), atoms, Role.EXPLORE, "box", "box/600K/0", 5, 600.0, verdict, 0.3, 1.0)


def label(level: str, atoms: int) -> Label:
    rng = np.random.default_rng(atoms)
    forces, moments = rng.normal(size=(atoms, 3)), rng.normal(size=atoms)
    return Label(LabelStatus.CONVERGED, level, -1.5, forces, None, cost_s=1.0, magnetic_moments_uB=moments)


@pytest.mark.parametrize("count", [20_000, 230_000])
def test_a_large_frame_goes_all_the_way(store: StoreSettings, tmp_path: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    atoms = Atoms(np.full(count, 29), rng.uniform(0, 200, (count, 3)), cell=[200] * 3, pbc=True)
    atoms.info.update(charge=0, spin=1)
    given = visit(atoms, tuple(range(count)))
    with open_ledger(store, tmp_path, "one") as ledger:
        ledger.replace_visits(0, [Role.EXPLORE], [given])
        (found,) = ledger.visits(0)
        assert found.atoms == atoms
        assert found.verdict.atoms == given.verdict.atoms
        ledger.request_labels(0, Role.EXPLORE, [given], "level")
        claimed = ledger.claim("worker-0", "level", 60)
        assert claimed is not None
        assert claimed.atoms == atoms
        for _ in range(2):  # the reply to the first call may be lost
            assert ledger.complete(claimed, label("level", count))
        (labelled,) = ledger.labelled([Role.EXPLORE])
        assert np.array_equal(labelled.label.forces_eV_per_A, label("level", count).forces_eV_per_A)
        assert np.array_equal(labelled.label.magnetic_moments_uB, label("level", count).magnetic_moments_uB)
        if count == 20_000:
            ensemble = rng.normal(size=(MEMBERS, count, 3))
            ledger.put_arrays(given.frame_id, {"forces_ensemble": ensemble})
            assert np.array_equal((ledger.get_arrays(given.frame_id) or {})["forces_ensemble"], ensemble)
    with pymongo.MongoClient(store.uri) as client:
        database = client.get_default_database()
        (size,) = database["label"].aggregate([{"$project": {"size": {"$bsonSize": "$$ROOT"}}}])
        assert size["size"] < 10 * 2**20
        named = [entry[key] for name in ("frame", "label", "array_set") for entry in database[name].find()
                 for key in entry if key.endswith("file")]  # fmt: skip
        assert {file["_id"] for file in database["arrays.files"].find()} == set(named), "a file that nothing names"
        assert bool(named)


def test_results_of_a_stage_and_events_are_bounded(store: StoreSettings, tmp_path: Path) -> None:
    with open_ledger(store, tmp_path, "one") as ledger:
        for number in range(12):
            ledger.finish_stage(0, f"stage-{number}", 1.0, {"text": "x" * (2**20 - 20)})
        assert len(ledger.stages(0)) == 12
        with pytest.raises(CampaignError, match="put_arrays"):
            ledger.finish_stage(0, "more", 1.0, {"text": "x" * 2**20})
        with pytest.raises(CampaignError, match="put_arrays"):
            ledger.event("note", "", text="x" * 2**23)


def test_nothing_finite_is_needed_of_a_label(store: StoreSettings, tmp_path: Path) -> None:
    atoms = Atoms("Cu", positions=[[np.nan, 0, 0]])
    with open_ledger(store, tmp_path, "one") as ledger:
        outcomes = _outcomes(ledger, visit(atoms))
    assert outcomes == [(LabelStatus.REJECTED, None)]


def _outcomes(ledger: Ledger, given: Frame) -> list[tuple[LabelStatus, float | None]]:
    ledger.replace_visits(0, [Role.EXPLORE], [given])
    ledger.request_labels(0, Role.EXPLORE, [given], "level")
    claimed = ledger.claim("worker-0", "level", 60)
    assert claimed is not None
    nothing = Label(LabelStatus.CONVERGED, "level", float("nan"), np.full((1, 3), np.inf), None, cost_s=float("nan"))
    assert ledger.complete(claimed, nothing)
    ended = ledger.labelled([Role.EXPLORE], converged_only=False)
    return [(frame.label.status, frame.label.energy_eV) for frame in ended]
