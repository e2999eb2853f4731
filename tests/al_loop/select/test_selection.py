"""Which frames are sent to DFT."""

import numpy as np
import pytest
from ase.build import molecule

from al_loop.config import SelectSettings
from al_loop.ids import frame_id
from al_loop.records import Lane, Role, Verdict, VerdictKind, Visit
from al_loop.select.selection import farthest_points, select
from committee.backbones import load_backbone
from committee.potential import CommitteePotential
from committee.settings import SevenNetSettings


@pytest.fixture(scope="module")
def potential():
    return CommitteePotential.untrained(load_backbone(SevenNetSettings(kind="sevennet")))


def visit(seed, kind=VerdictKind.SUSPECT, lane=Lane.FORCE_UNCERTAINTY, sigma=0.1):
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=seed)
    verdict = Verdict(kind, lane)
    return Visit(frame_id(atoms), atoms, Role.EXPLORE, "water", f"water/{seed}", seed, 300.0, verdict, sigma, 1.0)


def settings(**values):
    return SelectSettings(**{"labels_per_round": 6, "audit_fraction": 0.0, **values})


def chosen(visits, potential, known=(), seed=0, **values):
    return select(visits, known, potential, settings(**values), np.random.default_rng(seed))


def test_the_budget_holds_and_no_frame_is_chosen_twice(potential):
    visits = [visit(i % 9) for i in range(20)]
    picks = chosen(visits, potential).visits
    assert len(picks) == 6
    assert len({v.frame_id for v in picks}) == 6


def test_discarded_and_trusted_frames_are_left_alone(potential):
    visits = [visit(0, VerdictKind.TRUSTED), visit(1, VerdictKind.DISCARD), visit(2)]
    assert [v.step for v in chosen(visits, potential).visits] == [2]


def test_the_audit_reaches_trusted_frames(potential):
    visits = [visit(i, VerdictKind.TRUSTED) for i in range(10)]
    picks = chosen(visits, potential, audit_fraction=0.5)
    assert len(picks.visits) == 3
    assert set(picks.reasons.values()) == {"audit"}


def test_the_unphysical_have_a_quota(potential):
    visits = [visit(i, lane=Lane.PHYSICS) for i in range(5)] + [visit(9)]
    picks = chosen(visits, potential, unphysical_quota=2)
    assert sorted(picks.reasons.values()) == ["farthest point", "unphysical", "unphysical"]


def test_known_frames_are_not_asked_for_again(potential):
    known, new = visit(0), visit(1)
    picks = chosen([known, new], potential, known=[known.atoms], labels_per_round=1)
    assert [v.step for v in picks.visits] == [1]


def test_the_choice_is_reproducible(potential):
    visits = [visit(i) for i in range(12)]
    picks = [v.frame_id for v in chosen(visits, potential, seed=4, audit_fraction=0.4).visits]
    again = [v.frame_id for v in chosen(visits, potential, seed=4, audit_fraction=0.4).visits]
    assert picks == again


def test_nothing_to_choose_from(potential):
    assert chosen([], potential).visits == ()


def test_farthest_points_spread_over_a_line():
    line = np.linspace(0, 1, 11)[:, None]
    assert sorted(farthest_points(line, line[:1], np.ones(11), 2)) == [5, 10]


def test_weights_decide_between_equal_distances():
    points = np.array([[0.0], [1.0], [-1.0]])
    assert farthest_points(points, points[:1], np.array([1.0, 1.0, 2.0]), 1) == [2]


def test_duplicates_of_taken_points_are_never_picked():
    points = np.zeros((3, 2))
    assert farthest_points(points, points[:1], np.ones(3), 3) == []
