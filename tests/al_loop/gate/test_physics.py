"""The physics check on single frames: which frames each part refuses, and which it accepts."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from ase.cluster import Icosahedron

from al_loop.config import PhysicsSettings
from al_loop.gate.physics import PhysicsCheck
from al_loop.records import GateCheck, VerdictKind


def physics_check(start, temperature_K=300.0, ensemble="langevin", **settings):
    return PhysicsCheck(PhysicsSettings(**settings), start, temperature_K, ensemble=ensemble)


def twice(checks, frame):
    """The verdict on a frame that is the same at two checks."""
    first = checks.check(frame)
    return first or checks.check(frame)


def moved(atoms, members, by):
    frame = atoms.copy()
    frame.positions[members] += by
    return frame


@pytest.fixture
def methanol():
    return molecule("CH3OH")


@pytest.fixture
def two_waters():
    first, second = molecule("H2O"), molecule("H2O")
    second.positions += [0.0, 0.0, 2.9]
    return first + second


def test_a_hot_rattled_molecule_is_healthy(methanol):
    rattled = methanol.copy()
    rattled.rattle(0.08, rng=np.random.default_rng(0))
    assert physics_check(methanol).check(rattled, np.zeros((6, 3)), -10.0) is None


def test_a_hot_crystal_is_healthy():
    crystal = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    hot = crystal.copy()
    hot.rattle(0.25, rng=np.random.default_rng(1))
    assert physics_check(crystal).check(hot) is None


@pytest.mark.parametrize("where", ["positions", "forces", "momenta", "cell", "energy"])
def test_nan_is_discarded_first(methanol, where):
    frame, forces, energy_eV = methanol.copy(), np.zeros((6, 3)), 0.0
    frame.set_distance(0, 2, 0.3, fix=0)  # which would also be a close contact
    if where == "positions":
        frame.positions[2, 1] = np.nan
    elif where == "forces":
        forces[0, 0] = np.nan
    elif where == "momenta":
        frame.set_momenta(np.full((6, 3), np.inf))
    elif where == "cell":
        frame.cell[0, 0] = np.nan
    else:
        energy_eV = -np.inf
    verdict = physics_check(methanol).check(frame, forces, energy_eV)
    assert (verdict.kind, verdict.stop) == (VerdictKind.DISCARD, True)
    assert "non-finite" in verdict.reason
    assert physics_check(methanol).check_step(frame, forces, energy_eV) == verdict


def test_atoms_that_flew_apart_and_a_flat_cell_are_not_computable(methanol):
    assert "flew apart" in physics_check(methanol).check(moved(methanol, [0], 1e8)).reason
    crystal = bulk("Cu", cubic=True)
    flat = crystal.copy()
    flat.set_cell(crystal.cell * [1, 1, 0])
    assert "no volume" in physics_check(crystal).check(flat).reason
    tiny = crystal.copy()
    tiny.set_cell(crystal.cell * 1e-10, scale_atoms=True)
    for verdict in (physics_check(crystal).check(tiny), physics_check(crystal).check_step(tiny, np.zeros((4, 3)))):
        assert "the cell collapsed: received a cell of 1.2e-29 Å³ per atom" in verdict.reason


@pytest.mark.parametrize(("distance_A", "kind"), [(0.3, VerdictKind.DISCARD), (0.62, VerdictKind.SUSPECT)])
def test_overlap_has_two_grades(methanol, distance_A, kind):
    frame = methanol.copy()
    frame.set_distance(0, 2, distance_A, fix=0)
    verdict = physics_check(methanol).check(frame)
    assert (verdict.kind, verdict.check, verdict.stop) == (kind, GateCheck.PHYSICS, True)
    assert set(verdict.atoms) == {0, 2}


def test_a_start_that_overlaps_is_caught_against_itself():
    start = bulk("Cu", cubic=True)
    start.positions[1] = start.positions[0] + [0.4, 0.0, 0.0]
    assert physics_check(start).check(start).atoms == (0, 1)


def test_a_torn_molecule_must_stay_torn(methanol):
    torn = moved(methanol, [1, 3], [0.0, -3.0, 0.0])
    checks = physics_check(methanol)
    assert checks.check(torn) is None  # seen once: may come back
    assert checks.check(methanol) is None
    assert checks.check(torn) is None
    verdict = checks.check(torn)
    assert "dissociation" in verdict.reason
    assert set(verdict.atoms) == {1, 3}


def test_reactions_may_be_the_purpose(methanol):
    torn = moved(methanol, [1, 3], [0.0, -3.0, 0.0])
    assert twice(physics_check(methanol, allow_dissociation=True), torn) is None


def test_a_proton_that_hops_is_not_lost(two_waters):
    hopped = two_waters.copy()
    hopped.positions[2] = hopped.positions[3] - [0.0, 0.0, 1.0]
    assert twice(physics_check(two_waters), hopped) is None


def test_a_molecule_may_split_on_a_surface_and_land_on_it():
    slab = fcc111("Pt", (3, 3, 3), vacuum=8.0)
    slab.pbc = (True, True, False)
    start = slab.copy()
    add_adsorbate(start, molecule("H2"), 3.0, position=(4.0, 3.0))
    landed = start.copy()
    landed.positions[-2:] = landed.positions[-4:-2] + np.array([0.0, 0.0, 1.6])
    assert twice(physics_check(start), landed) is None
    gone = start.copy()
    gone.positions[-1] += [0.0, 0.0, 3.0]
    assert twice(physics_check(start), gone).atoms == (28,)


def test_an_atom_may_evaporate_from_a_metal():
    cluster = Icosahedron("Cu", 2)
    assert twice(physics_check(cluster), moved(cluster, [12], cluster.positions[12])) is None


@pytest.mark.parametrize(("scale", "change"), [(0.6, "collapse"), (1.8, "explosion")])
def test_a_scaled_cell_is_caught(scale, change):
    crystal = bulk("Si", cubic=True)
    scaled = crystal.copy()
    scaled.set_cell(crystal.cell * scale, scale_atoms=True)
    assert change in physics_check(crystal).check(scaled).reason


@pytest.mark.parametrize(("scale", "kind"), [(1.8, VerdictKind.SUSPECT), (3.0, VerdictKind.DISCARD)])
def test_a_cell_that_blew_up_is_not_computed(scale, kind):
    crystal = bulk("Cu", cubic=True)
    scaled = crystal.copy()
    scaled.set_cell(crystal.cell * scale, scale_atoms=True)
    assert physics_check(crystal).check(scaled).kind is kind


@pytest.mark.parametrize("scale", [0.6, 1.8])
def test_a_slab_or_cluster_has_the_density_of_its_atoms(scale):
    slab = fcc111("Cu", (2, 2, 4), vacuum=10.0, periodic=True)
    cluster = Icosahedron("Cu", 2)
    scaled = [slab.copy(), cluster.copy()]
    scaled[0].set_cell(slab.cell * scale, scale_atoms=True)
    scaled[1].positions *= scale
    for start, frame in zip((slab, cluster), scaled, strict=True):
        assert physics_check(start).check(frame).check is GateCheck.PHYSICS


def test_more_vacuum_is_no_explosion():
    slab = fcc111("Cu", (2, 2, 4), vacuum=5.0, periodic=False)
    roomy = slab.copy()
    roomy.center(vacuum=20.0, axis=2)
    assert physics_check(slab).check(roomy) is None


def test_a_long_molecule_may_fold():
    chain = Atoms("C8", [[1.54 * i, 0, 0] for i in range(8)])
    turns = np.cumsum(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, 0, 1], [1, 0, 0], [0, -1, 0], [-1, 0, 0]], axis=0
    )
    folded = Atoms("C8", 1.54 * turns)
    assert physics_check(chain, max_volume_ratio=2.5).check(folded) is None


def test_a_collapsing_density_is_caught():
    crystal = bulk("Cu", cubic=True)
    scaled = crystal.copy()
    scaled.set_cell(crystal.cell * 0.8, scale_atoms=True)
    assert "collapse" in physics_check(crystal).check(scaled).reason


def test_a_runaway_temperature_is_caught(methanol):
    frame = methanol.copy()
    frame.set_velocities(np.random.default_rng(0).normal(0, 0.5, (6, 3)))
    assert "temperature" in physics_check(methanol).check(frame).reason


def test_one_fast_atom_is_pointed_at():
    crystal = bulk("Cu", cubic=True) * 5
    frame = crystal.copy()
    momenta = np.zeros((500, 3))
    momenta[7, 0] = np.sqrt(2 * frame.get_masses()[7] * 20.0)  # 20 eV, which warm 500 atoms by 300 K
    frame.set_momenta(momenta)
    assert physics_check(crystal).check_step(frame, np.zeros((500, 3))).atoms == (7,)


def test_a_thermostat_hotter_than_matter_is_named(methanol):
    assert "20000 K" in physics_check(methanol, 20000.0).check_step(methanol, np.zeros((6, 3))).reason
    assert physics_check(methanol, 20000.0, max_temperature_K=30000.0).check_step(methanol, np.zeros((6, 3))) is None


def test_a_thermostat_that_is_turned_down_is_given_time():
    crystal = bulk("Cu", cubic=True) * 2
    hot = crystal.copy()
    hot.set_velocities(np.random.default_rng(0).normal(0, 0.045, (32, 3)))  # 1530 K
    checks = physics_check(crystal, 1500.0)
    checks.temperature_K = 250.0
    forces = np.zeros((32, 3))
    assert checks.check_step(hot, forces) is None
    assert any(checks.check_step(hot, forces) for _ in range(500))


def test_atoms_that_crowd_are_caught():
    apart = Atoms("Ar8", [[6.0 * i, 0, 0] for i in range(8)])
    merged = Atoms("Ar8", [[2.0 * (i % 2), 2.0 * (i // 2 % 2), 2.0 * (i // 4)] for i in range(8)])
    verdict = physics_check(apart).check(merged)
    assert "over-aggregation" in verdict.reason
    assert len(verdict.atoms) == 8


def test_clusters_that_merge_are_caught_when_they_stay():
    start = Icosahedron("Cu", 2) + moved(Icosahedron("Cu", 2), list(range(13)), [12.0, 0.0, 0.0])
    merged = moved(start, list(range(13, 26)), [-5.0, 0.0, 0.0])
    checks = physics_check(start)
    assert checks.check(merged) is None
    assert "over-aggregation" in checks.check(merged).reason
    assert twice(physics_check(start, allow_dissociation=True), merged) is None


def test_crystals_and_ions_may_touch():
    salt = Atoms("NaClNaCl", [[0, 0, 0], [2.4, 0, 0], [8, 0, 0], [10.4, 0, 0]])
    dimer = Atoms("NaClNaCl", [[0, 0, 0], [2.5, 0, 0], [2.5, 2.5, 0], [0, 2.5, 0]])
    assert twice(physics_check(salt), dimer) is None


@pytest.mark.parametrize("change_eV", [-40.0, 40.0])
def test_an_energy_that_runs_away_is_caught(methanol, change_eV):
    checks = physics_check(methanol)
    forces = np.zeros((6, 3))
    assert checks.check_step(methanol, forces, -700.0) is None
    assert checks.check_step(methanol, forces, -699.5) is None
    assert "energy diverged" in checks.check_step(methanol, forces, -700.0 + change_eV).reason


def test_the_total_energy_drifts_only_with_a_thermostat(methanol):
    forces = np.zeros((6, 3))
    verdicts = {}
    for ensemble in ("langevin", "nve"):
        checks = physics_check(methanol, ensemble=ensemble)
        verdicts[ensemble] = [checks.check_step(methanol, forces, 0.002 * step) for step in range(50)]
    assert not any(verdicts["langevin"])
    assert "NVE run drifted" in verdicts["nve"][-1].reason


def test_a_check_goes_on_from_its_state(methanol):
    torn = moved(methanol, [1, 3], [0.0, -3.0, 0.0])
    checks = physics_check(methanol, ensemble="nve")
    checks.temperature_K = 200.0
    checks.check(torn, np.zeros((6, 3)), -100.0)
    other = physics_check(methanol, ensemble="nve")
    other.restore(json.loads(json.dumps(checks.state())))
    assert other.state() == checks.state()
    frame = torn.copy()
    for step in range(3):
        assert other.check(frame, np.zeros((6, 3)), -100.0 + step) == checks.check(
            frame, np.zeros((6, 3)), -100.0 + step
        )
    assert other.temperature_K == 200.0


@pytest.mark.parametrize("pbc", [(True, False, False), (True, True, False), (True, False, True)])
def test_mixed_periodicity_is_judged(pbc):
    slab = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    slab.pbc = pbc
    slab.rattle(0.05, rng=np.random.default_rng(0))
    assert physics_check(slab).check(slab) is None


def test_a_single_atom_is_healthy():
    atom = Atoms("Ar", [[0, 0, 0]])
    assert physics_check(atom).check(atom) is None


def test_a_cell_of_one_atom_is_its_own_neighbour():
    primitive = bulk("Cu")
    assert physics_check(primitive).check(primitive) is None
    assert physics_check(primitive).check(primitive.repeat(1)) is None
    half = primitive.copy()
    half.set_cell(primitive.cell * 0.5)
    assert "close contact" in physics_check(primitive).check(half).reason
