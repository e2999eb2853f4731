"""The physics lane on healthy frames and on constructed failures."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from al_loop.config import PhysicsSettings
from al_loop.gate.physics import PhysicsLane
from al_loop.records import Lane, VerdictKind

SETTINGS = PhysicsSettings()


def lane(start, temperature_K=300.0, **settings):
    return PhysicsLane(PhysicsSettings(**settings), start, temperature_K)


@pytest.fixture
def methanol():
    return molecule("CH3OH")


def test_a_hot_rattled_molecule_is_healthy(methanol):
    rattled = methanol.copy()
    rattled.rattle(0.08, rng=np.random.default_rng(0))
    assert lane(methanol).check(rattled, np.zeros((6, 3))) is None


def test_a_hot_crystal_is_healthy():
    crystal = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    hot = crystal.copy()
    hot.rattle(0.25, rng=np.random.default_rng(1))
    assert lane(crystal).check(hot) is None


@pytest.mark.parametrize("where", ["positions", "forces", "momenta"])
def test_nan_is_discarded_first(methanol, where):
    frame, forces = methanol.copy(), np.zeros((6, 3))
    if where == "positions":
        frame.positions[2, 1] = np.nan
    elif where == "forces":
        forces[0, 0] = np.nan
    else:
        frame.set_momenta(np.full((6, 3), np.inf))
    verdict = lane(methanol).check(frame, forces)
    assert verdict.kind is VerdictKind.DISCARD
    assert verdict.stop


@pytest.mark.parametrize(("distance_A", "kind"), [(0.3, VerdictKind.DISCARD), (0.62, VerdictKind.SUSPECT)])
def test_overlap_has_two_grades(methanol, distance_A, kind):
    frame = methanol.copy()
    frame.set_distance(0, 2, distance_A, fix=0)
    verdict = lane(methanol).check(frame)
    assert (verdict.kind, verdict.lane, verdict.stop) == (kind, Lane.PHYSICS, True)
    assert set(verdict.atoms) == {0, 2}


def test_a_torn_molecule_must_stay_torn(methanol):
    judge = lane(methanol)
    torn = methanol.copy()
    torn.positions[1] += [0.0, -3.0, 0.0]
    torn.positions[3] += [0.0, -3.0, 0.0]
    assert lane(methanol, max_volume_ratio=50).check(torn) is None  # seen once: may come back
    judge = lane(methanol, max_volume_ratio=50)
    judge.check(torn)
    verdict = judge.check(torn)
    assert "dissociation" in verdict.reason
    assert set(verdict.atoms) == {1, 3}


def test_reactions_may_be_the_purpose(methanol):
    torn = methanol.copy()
    torn.positions[[1, 3]] += [0.0, -3.0, 0.0]
    judge = lane(methanol, allow_dissociation=True)
    assert judge.check(torn) is None
    assert judge.check(torn) is None


@pytest.mark.parametrize(("scale", "word"), [(0.6, "collapse"), (1.8, "explosion")])
def test_a_scaled_cell_is_caught(scale, word):
    crystal = bulk("Si", cubic=True)
    scaled = crystal.copy()
    scaled.set_cell(crystal.cell * scale, scale_atoms=True)
    assert word in lane(crystal).check(scaled).reason


def test_a_collapsing_density_is_caught():
    crystal = bulk("Cu", cubic=True)
    scaled = crystal.copy()
    scaled.set_cell(crystal.cell * 0.8, scale_atoms=True)
    assert "collapse" in lane(crystal).check(scaled).reason


def test_a_runaway_temperature_is_caught(methanol):
    frame = methanol.copy()
    frame.set_velocities(np.random.default_rng(0).normal(0, 0.5, (6, 3)))
    assert "temperature" in lane(methanol).check(frame).reason


def test_clusters_that_merge_are_caught():
    apart = Atoms("Ar8", [[6.0 * i, 0, 0] for i in range(8)])
    merged = Atoms("Ar8", [[2.0 * (i % 2), 2.0 * (i // 2 % 2), 2.0 * (i // 4)] for i in range(8)])
    assert "over-aggregation" in lane(apart).check(merged).reason


def test_a_single_atom_is_healthy():
    atom = Atoms("Ar", [[0, 0, 0]])
    assert lane(atom).check(atom) is None
