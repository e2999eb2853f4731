"""What SELECT reads of a real ledger: descriptors, without structures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule

from al_loop.config import StoreSettings
from al_loop.ledger import Ledger, open_ledger
from al_loop.records import Frame, FrameSummary, GateCheck, Role, Verdict, VerdictKind
from al_loop.stages.select.selection import described, described_candidates, known_frames, undescribed
from al_loop.structures.descriptors import frame_descriptor
from al_loop.utils.content_hash import frame_id
from committee.backbones import load_backbone
from committee.potential import CommitteePotential
from committee.settings import SevenNetSettings

VERDICT = Verdict(VerdictKind.SUSPECT, GateCheck.FORCE_UNCERTAINTY)


def visit(seed: int, step: int = 0, descriptor: bool = True) -> Frame:
    atoms = molecule("CH3OH")
    atoms.rattle(0.1, seed=seed)
    point = np.random.default_rng(seed).normal(size=384).astype(np.float32) if descriptor else None
    return Frame(frame_id(atoms), atoms, Role.EXPLORE, "methanol", "methanol/0", step, 600.0, VERDICT, 0.31, 1.7, point)


@pytest.fixture
def ledger(store: StoreSettings, tmp_path: Path) -> Ledger:
    with open_ledger(store, tmp_path, "one") as opened:
        yield opened


def test_descriptors_come_back_bit_for_bit(ledger: Ledger) -> None:
    given = [visit(seed) for seed in range(3)]
    ledger.replace_visits(0, [Role.EXPLORE], given)
    for found in (ledger.visits(0), ledger.candidates(0, Role.EXPLORE)):
        assert [entry.frame_id for entry in found] == [entry.frame_id for entry in given]
        for back, entry in zip(found, given, strict=True):
            assert back.descriptor.dtype == np.float32
            assert np.array_equal(back.descriptor, entry.descriptor)


def test_a_candidate_is_a_frame_of_the_round_once(ledger: Ledger) -> None:
    ledger.replace_visits(0, [Role.EXPLORE], [visit(1), visit(2), visit(1, step=10)])
    ledger.replace_visits(1, [Role.EXPLORE], [visit(3)])
    found = ledger.candidates(0, Role.EXPLORE)
    assert [entry.frame_id for entry in found] == [visit(1).frame_id, visit(2).frame_id]
    assert (found[0].formula, found[0].kind, found[0].check) == ("CH4O", VERDICT.kind, VERDICT.check)
    assert found[0].force_uncertainty_eV_per_A == 0.31
    assert ledger.candidates(0, Role.TEST) == []


def test_ledgers_without_descriptors_stay_readable(ledger: Ledger) -> None:
    """What an earlier version wrote has no such field at all."""
    ledger.replace_visits(0, [Role.EXPLORE], [visit(1), visit(2)])
    ledger._collection(ledger._docs.visit).update_one({"frame": visit(1).frame_id}, {"$unset": {"descriptor": 1}})
    assert [entry.descriptor is None for entry in ledger.visits(0)] == [True, False]
    assert [entry.descriptor is None for entry in ledger.candidates(0, Role.EXPLORE)] == [True, False]
    assert list(ledger.descriptors([visit(1).frame_id, visit(2).frame_id])) == [visit(2).frame_id]


def test_the_farthest_physical_frames_of_a_round_come_back_in_order(ledger: Ledger) -> None:
    unphysical = Verdict(VerdictKind.SUSPECT, GateCheck.PHYSICS)
    discarded = Verdict(VerdictKind.DISCARD, GateCheck.FORCE_UNCERTAINTY)
    given = [
        replace(visit(1), latent_distance=2.0),
        replace(visit(2), latent_distance=9.0, verdict=discarded),
        replace(visit(3), latent_distance=8.0, verdict=unphysical),
        replace(visit(4), latent_distance=3.0),
        replace(visit(4), latent_distance=1.0, step=10),
        replace(visit(5), latent_distance=None),
    ]
    ledger.replace_visits(0, [Role.EXPLORE], given)
    ledger.replace_visits(1, [Role.EXPLORE], [replace(visit(6), latent_distance=7.0)])
    found = ledger.farthest(0, Role.EXPLORE, 3)
    assert [frame_id(atoms) for atoms in found] == [visit(seed).frame_id for seed in (4, 1, 5)]
    assert len(ledger.farthest(0, Role.EXPLORE, 1)) == 1


def test_descriptors_of_another_foundation_are_not_compared(ledger: Ledger) -> None:
    """A model on an adapted foundation selects among its own frames, harvested ones and labelled ones."""
    potential = CommitteePotential.untrained(load_backbone(SevenNetSettings(kind="sevennet")))
    own, harvested, labelled = visit(1), visit(2), visit(3)
    structures = {one.frame_id: one.atoms for one in (own, harvested, labelled)}
    asked: list[str] = []

    def read(ids: list[str]) -> dict:
        asked.extend(ids)
        return {frame: structures[frame] for frame in ids}

    met = [FrameSummary(one.frame_id, "CH4O", one.descriptor, VERDICT.kind, VERDICT.check) for one in (own, harvested)]
    candidates, known = described(met, {labelled.frame_id: labelled.atoms}, potential, {}, read, own={own.frame_id})
    assert asked == [harvested.frame_id]
    assert np.array_equal(candidates[0].descriptor, own.descriptor)
    for found, one in ((candidates[1], harvested), (known[0], labelled)):
        (prediction,) = potential.predict([one.atoms])
        assert found.descriptor == pytest.approx(frame_descriptor(prediction.features, one.atoms.numbers), abs=1e-5)


def test_a_frame_without_a_descriptor_is_stored_without(ledger: Ledger) -> None:
    ledger.replace_visits(0, [Role.EXPLORE], [visit(1, descriptor=False)])
    assert ledger.descriptors([visit(1).frame_id]) == {}
    assert ledger.visits(0)[0].descriptor is None


def test_visits_of_some_frames(ledger: Ledger) -> None:
    ledger.replace_visits(0, [Role.EXPLORE], [visit(seed) for seed in range(4)])
    wanted = [visit(2).frame_id, visit(0).frame_id, "unknown"]
    assert {entry.frame_id for entry in ledger.visits(0, frames=wanted)} == set(wanted[:2])
    assert ledger.visits(0, frames=[]) == []


def test_missing_descriptors_are_computed_where_the_foundation_has_an_answer(ledger: Ledger) -> None:
    """Of an old ledger's frames, and of frames on which the physics check fired before the model was asked."""
    potential = CommitteePotential.untrained(load_backbone(SevenNetSettings(kind="sevennet")))
    old, new, broken = visit(1, descriptor=False), visit(2), visit(3, descriptor=False).atoms
    broken.positions[0] = np.nan
    lost = replace(visit(3, descriptor=False), frame_id=frame_id(broken), atoms=broken)
    ledger.replace_visits(0, [Role.EXPLORE], [lost, old, new])
    taken = {v.frame_id: v.atoms for v in (new, old)}
    met = ledger.candidates(0, Role.EXPLORE)
    candidates = described_candidates(met, ledger.frames(undescribed(met)), potential)
    known = known_frames(taken, ledger.descriptors(taken), potential)
    (prediction,) = potential.predict([old.atoms])
    computed = frame_descriptor(prediction.features, old.atoms.numbers)
    assert candidates[0].descriptor is None
    assert candidates[1].descriptor == pytest.approx(computed, abs=1e-5)
    assert np.array_equal(candidates[2].descriptor, new.descriptor)
    assert np.array_equal(known[0].descriptor, new.descriptor)
    assert known[1].descriptor == pytest.approx(computed, abs=1e-5)
    assert [frame.formula for frame in known] == ["CH4O", "CH4O"]
