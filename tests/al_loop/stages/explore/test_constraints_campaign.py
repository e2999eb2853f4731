"""Constraints and masses from a file through a campaign: starts, generators, lockstep, queues, disk, later rounds."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.constraints import (
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCartesianParametricRelations,
    FixedLine,
    FixedPlane,
    FixInternals,
    FixScaled,
    Hookean,
)
from ase.io import write
from pydantic import TypeAdapter

from al_loop import load_config
from al_loop.config import ExploreSettings, PhysicsSettings, SystemSettings
from al_loop.config.generator_settings import GeneratorSettings
from al_loop.dynamics.ensembles import make_replica
from al_loop.errors import InputError
from al_loop.files.structures import read_structure
from al_loop.frames.constraints.degrees_of_freedom import held_projectors
from al_loop.frames.constraints.policy import degrees_of_freedom
from al_loop.frames.plain_atoms import constraints_text
from al_loop.gate.physics import PhysicsCheck
from al_loop.records import Role
from al_loop.stages.explore.checkpoint import identity_of
from al_loop.stages.explore.hold_out import held_out_starts, hold_out
from al_loop.stages.explore.run import explore_stored
from al_loop.stages.explore.starts import make_starts, round_starts
from al_loop.stages.promote.energy_conservation import start_replicas, total_energies
from al_loop.stages.queue_tasks import start_as_dict, start_from_dict
from al_loop.structures.generators import apply_variant
from al_loop.structures.start import Start
from al_loop.structures.systems import load_structures
from al_loop.utils.content_hash import frame_id
from benchmarks.in_memory import explore
from committee.backbones import load_backbone
from committee.backbones.calculator import CalculatorBackbone
from committee.potential import CommitteePotential
from committee.settings import CalculatorSettings, SevenNetSettings

FIXED = list(range(8))
SEVENNET = SevenNetSettings(kind="sevennet")
SETTINGS = ExploreSettings(temperatures_K=(600,), steps=3, check_every=1, timestep_fs=2.0)


@pytest.fixture(scope="module")
def potential():
    return CommitteePotential.untrained(load_backbone(SEVENNET))


def slab(constraint=None):
    atoms = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    constraint = FixAtoms(FIXED) if constraint is None else constraint
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True, constraint=constraint)


def emt_run(atoms, ensemble="langevin", steps=10):
    replica = make_replica(ensemble, atoms, 600, SETTINGS, np.random.default_rng(0))

    def forces():
        copy = replica.atoms.copy()
        copy.calc = EMT()
        return copy.get_forces(apply_constraint=False)

    found = forces()
    replica.begin(found, None)
    for _ in range(steps):
        replica.move(found)
        found = forces()
        replica.finish(found)
    return replica.atoms


FORMATS = {
    "a.extxyz": {},
    "POSCAR": {"format": "vasp", "direct": True},
    "a.traj": {},
    "a.json": {},
    "a.db": {},
    "a.pwi": {"format": "espresso-in", "pseudopotentials": {"Cu": "Cu.upf"}},
    "geometry.in": {"format": "aims"},
    "a.cell": {"format": "castep-cell"},
    "coord": {"format": "turbomole"},
    "a.con": {"format": "eon"},
}


@pytest.mark.filterwarnings("ignore")  # ASE's writers and readers, on themselves
@pytest.mark.parametrize("name", FORMATS)
def test_fixed_atoms_of_every_format_that_ase_knows_them_in_move_by_exactly_0(tmp_path, name):
    write(tmp_path / name, slab(), **FORMATS[name])
    known = load_structures(SystemSettings(file=tmp_path / name))[0].atoms
    held = np.flatnonzero((held_projectors(known) == np.eye(3)).all(axis=(1, 2)))
    assert len(held) == 8
    after = emt_run(known.copy(), "nve" if name == "coord" else "langevin")
    way = np.abs(after.positions - known.positions).max(axis=1)
    assert (way[held] == 0).all()
    assert (np.delete(way, held) > 0).all()


PER_COMPONENT = {
    "mask.extxyz": ({}, FixCartesian([0, 5], (False, False, True))),
    "POSCAR": ({"format": "vasp", "direct": True}, FixScaled([0, 5], (False, True, True))),
    "b.pwi": (
        {"format": "espresso-in", "pseudopotentials": {"Cu": "Cu.upf"}},
        FixCartesian([0, 5], (False, False, True)),
    ),
    "geometry.in": ({"format": "aims"}, FixCartesian([0, 5], (True, False, True))),
    "b.traj": ({}, FixedPlane([0, 5], [1, 1, 1])),
    "b.json": ({}, FixedLine([0, 5], [1, 1, 0])),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PER_COMPONENT)
def test_components_of_every_format_are_held(tmp_path, name):
    settings, constraint = PER_COMPONENT[name]
    write(tmp_path / name, slab(constraint), **settings)
    known = load_structures(SystemSettings(file=tmp_path / name))[0].atoms
    np.testing.assert_allclose(held_projectors(known), held_projectors(slab(constraint)), atol=1e-6)
    after = emt_run(known.copy())
    way = np.einsum("nij,nj->ni", held_projectors(known), after.positions - known.positions)
    np.testing.assert_allclose(way, 0, atol=1e-13)
    assert np.abs(after.positions - known.positions).max(axis=1).min() > 0


def build(variant, atoms, seed=0):
    settings = TypeAdapter(list[GeneratorSettings]).validate_python(variant)
    return apply_variant(settings, atoms, np.random.default_rng(seed))


SURFACE = {"kind": "surface", "miller": [1, 1, 1], "layers": 3, "fixed_layers": 2, "repeats": [2, 1]}
CO = {"kind": "adsorbate", "molecule": "CO", "anchor": 1, "height_A": 1.9}


def test_a_surface_has_its_lowest_layers_fixed():
    for miller in ([1, 1, 1], [1, 0, 0], [2, 1, 1]):
        made = build([{**SURFACE, "miller": miller}], bulk("Cu", cubic=True))
        fixed = made.constraints[0].get_indices()
        assert len(fixed) == len(made) * 2 // 3
        free = np.delete(np.arange(len(made)), fixed)
        assert made.positions[fixed, 2].max() < made.positions[free, 2].min() - 0.1
        assert degrees_of_freedom(made) == len(made)
    assert not build([{**SURFACE, "fixed_layers": 0}], bulk("Cu", cubic=True)).constraints
    with pytest.raises(ValueError, match="received 3 of 3 layers, expected fewer"):
        build([{**SURFACE, "fixed_layers": 3}], bulk("Cu", cubic=True))


def test_generators_keep_what_is_fixed():
    covered = build([SURFACE, CO, {"kind": "rattle", "displacement_A": 0.2}], bulk("Cu", cubic=True))
    plain = build([SURFACE, CO], bulk("Cu", cubic=True))
    fixed = covered.constraints[0].get_indices()
    assert covered.get_chemical_formula() == "CCu24O"
    assert (covered.positions[fixed] == plain.positions[fixed]).all()
    moved = np.delete(np.arange(26), fixed)
    assert np.abs(covered.positions - plain.positions)[moved].max(axis=1).min() > 0

    doubled = build([{"kind": "supercell", "repeats": [2, 2, 1]}], slab(FixAtoms([-12, 1])))
    assert sorted(doubled.constraints[0].get_indices()) == sorted(n * 12 + i for n in range(4) for i in (0, 1))
    stretched = build([{"kind": "strain", "components": [0.02, 0.02, 0, 0, 0, 0]}], slab())
    np.testing.assert_allclose(stretched.get_scaled_positions(), slab().get_scaled_positions(), atol=1e-12)
    assert stretched.constraints[0].get_indices().tolist() == FIXED


def test_a_vacancy_takes_its_constraint_with_it_and_the_others_stay_with_their_atoms():
    start = slab([FixAtoms(list(range(6))), FixedLine([6, 7], [0, 0, 1])])
    start.set_array("number", np.arange(12))
    left = build([{"kind": "vacancy", "element": "Cu", "count": 5}], start)
    kept = [int(np.flatnonzero((start.positions == place).all(axis=1))[0]) for place in left.positions]
    wanted = held_projectors(start)[kept]
    np.testing.assert_allclose(held_projectors(left), wanted, atol=1e-12)
    odd = slab(FixCartesianParametricRelations.from_expressions([0], ["x"], ["x", "0", "0"]))
    with pytest.raises(InputError, match="removes atoms from FixCartesianParametricRelations"):
        build([{"kind": "vacancy", "element": "Cu"}], odd)


def test_an_interface_keeps_both_slabs_held(tmp_path):
    other = slab(FixAtoms([8, 9, 10, 11]))
    other.center(vacuum=2, axis=2)
    write(tmp_path / "other.extxyz", other)
    joined = build([{"kind": "interface", "file": str(tmp_path / "other.extxyz")}], slab())
    assert degrees_of_freedom(joined) == 3 * (24 - 8 - 4)
    assert set(np.concatenate([c.get_indices() for c in joined.constraints])) == {*FIXED, 20, 21, 22, 23}
    write(tmp_path / "odd.traj", slab(FixBondLengths([[0, 1]])))
    with pytest.raises(InputError, match=r"odd.traj holds FixBondLengths \(2 atoms\), which cannot be transferred"):
        build([{"kind": "interface", "file": str(tmp_path / "odd.traj")}], slab())


@pytest.mark.parametrize(
    ("variant", "atoms", "message"),
    [
        ([SURFACE], bulk("Cu", cubic=True) * 2, "the bulk Cu32 holds FixAtoms"),
        ([{"kind": "box", "edge_A": 12, "copies": 2}], molecule("CH3OH"), "which copies cannot keep"),
    ],
)
def test_what_would_lose_its_meaning_is_refused(variant, atoms, message):
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(InputError, match=message):
        build(variant, atoms)


def test_masses_stay_with_their_atoms_and_a_substituted_atom_has_its_own():
    heavy = slab()
    heavy.set_masses(np.linspace(60, 70, 12))
    made = build([{"kind": "substitution", "element": "Cu", "by": "Au", "count": 10}, CO], heavy)
    copper = np.flatnonzero(made.symbols == "Cu")
    assert (made.get_masses()[copper] == heavy.get_masses()[copper]).all()
    assert len(copper) == 2
    for symbol, mass in (("Au", 196.97), ("C", 12.011), ("O", 15.999)):
        assert made.get_masses()[made.symbols == symbol] == pytest.approx(mass, abs=0.01)


def start(atoms, seed=0, ensemble="langevin"):
    return Start("slab", f"slab/{ensemble}/{seed}", Role.EXPLORE, atoms.copy(), atoms, 600.0, (seed,), ensemble)


def heavy_slab():
    atoms = slab([FixAtoms(list(range(4))), FixScaled([4, 5], (False, True, False)), FixBondLengths([[8, 9]])])
    atoms.set_masses(np.linspace(60, 70, 12))
    atoms.info["charge"] = 0
    return atoms


def test_starts_rattle_and_strain_with_constraints(tmp_path):
    write(tmp_path / "slab.extxyz", slab())
    known = read_structure(tmp_path / "slab.extxyz")
    system = SystemSettings(file=tmp_path / "slab.extxyz", supercell=(2, 1, 1))
    settings = ExploreSettings(temperatures_K=(300,), rattle_A=0.1, replicas=2)
    for one in make_starts([system], settings, Role.EXPLORE, (0,)):
        fixed = one.atoms.constraints[0].get_indices()
        assert len(fixed) == 16
        assert (one.atoms.positions[fixed] == one.intact.positions[fixed]).all()
        assert np.abs(one.atoms.positions - one.intact.positions).max() > 0.05
    dense = bulk("Cu", cubic=True)
    dense.set_constraint(FixAtoms([0]))
    write(tmp_path / "cu.extxyz", dense)
    system = SystemSettings(file=tmp_path / "cu.extxyz", strains=(0.02,))
    (one,) = make_starts([system], settings, Role.EXPLORE, (0,), replicas=1)
    np.testing.assert_allclose(one.intact.cell.array, 1.02 * dense.cell.array)
    assert (one.atoms.positions[0] == one.intact.positions[0]).all()
    assert known.constraints


def test_a_queue_gets_masses_and_constraints_and_runs_the_same_bits(potential):
    one = start(heavy_slab())
    one.atoms.positions[8:10] += 0.01
    other = start_from_dict(json.loads(json.dumps(start_as_dict(one))))
    assert (other.atoms.get_masses() == one.atoms.get_masses()).all()
    assert constraints_text(other.intact.constraints) == constraints_text(one.intact.constraints)
    assert identity_of(potential, [one], SETTINGS, PhysicsSettings()) == identity_of(
        potential, [other], SETTINGS, PhysicsSettings()
    )
    here, there = (emt_run(s.atoms.copy()) for s in (one, other))
    assert (here.positions == there.positions).all()


def test_constraints_and_masses_tell_stored_runs_apart(potential):
    def identity(atoms):
        return identity_of(potential, [start(atoms)], SETTINGS, PhysicsSettings())

    heavy = slab()
    heavy.set_masses(np.full(12, 70.0))
    assert len({identity(slab()), identity(slab(FixAtoms([0]))), identity(slab([])), identity(heavy)}) == 4
    assert len({frame_id(slab()), frame_id(slab(FixAtoms([0]))), frame_id(slab([])), frame_id(heavy)}) == 1


def column(*constraints, **masses):
    """Four atoms: cheap enough for a foundation."""
    atoms = fcc111("Cu", (1, 1, 4), vacuum=5.0)
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True, constraint=list(constraints), **masses)


def heavy_column():
    return column(
        FixAtoms([0]), FixScaled([1], (False, True, False)), FixBondLengths([[2, 3]]), masses=[60, 61, 62, 63]
    )


def test_frames_of_replicas_in_lockstep_keep_what_was_fixed_on_disk_and_in_memory(tmp_path, potential):
    atoms = [heavy_column(), heavy_column(), column(FixAtoms([0, 1])), column()]
    starts = [start(a, n, e) for n, (a, e) in enumerate(zip(atoms, ("langevin", "nve", "bussi", "bussi"), strict=True))]
    settings = SETTINGS.model_copy(update={"steps": 2})
    in_memory = explore(potential, starts, settings, PhysicsSettings())
    on_disk = list(explore_stored(tmp_path / "run", potential, starts, settings, PhysicsSettings()).visits())
    assert [v.frame_id for v in in_memory] == [v.frame_id for v in on_disk]
    assert len(on_disk) == 12
    of = {one.trajectory: one.intact for one in starts}
    for visit in (*in_memory, *on_disk):
        intact = of[visit.trajectory]
        assert constraints_text(visit.atoms.constraints) == constraints_text(intact.constraints)
        assert (visit.atoms.get_masses() == intact.get_masses()).all()
        held = np.einsum("nij,nj->ni", held_projectors(intact), visit.atoms.positions - intact.positions)
        np.testing.assert_allclose(held, 0, atol=1e-12)
        assert not intact.constraints or (held[0] == 0).all()


def test_a_constraint_that_cannot_be_satisfied_any_more_stops_its_trajectory_alone(potential):
    hot = replace(start(column(FixBondLengths([[2, 3]]))), temperature_K=2e9, trajectory="hot")
    physics = PhysicsSettings().model_copy(update={"max_temperature_K": 1e12, "max_temperature_ratio": 1e9})
    visits = explore(potential, [hot, start(column(FixAtoms([0])))], SETTINGS, physics)
    assert [visit.step for visit in visits if visit.trajectory != "hot"] == [0, 1, 2, 3]
    last = [visit for visit in visits if visit.trajectory == "hot"][-1]
    assert last.step < 3
    assert "a constraint cannot be satisfied any more" in last.verdict.reason


class ObedientEMT(EMT):
    """As codes with an input file are: what is fixed there has no force."""

    def calculate(self, atoms, properties, system_changes):
        super().calculate(atoms, properties, system_changes)
        for constraint in atoms.constraints:
            constraint.adjust_forces(atoms, self.results["forces"])


def test_a_calculator_as_foundation_is_asked_for_the_forces_on_all_atoms(potential):
    settings = CalculatorSettings(kind="calculator", import_path="ase.calculators.emt.EMT", features=SEVENNET)
    backbone = CalculatorBackbone(settings, ObedientEMT(), potential.backbone)
    held, free = column(FixAtoms([0, 1])), column()
    forces = CommitteePotential.untrained(backbone).predict([held])[0].forces
    np.testing.assert_allclose(forces, EMT().get_forces(free), atol=1e-9)
    assert np.abs(forces[:2]).max() > 0.1


def test_the_gate_counts_only_what_moves():
    """Eight of twelve atoms are fixed: at 1.2 times the limit of the four others they would hide half the heat."""
    settings = PhysicsSettings(max_temperature_ratio=3.0)
    replica = make_replica("nve", slab(FixAtoms(list(range(10)))), 300, SETTINGS, np.random.default_rng(0))
    momenta = replica.atoms.get_momenta()
    physics_check = PhysicsCheck(settings, slab(FixAtoms(list(range(10)))), 300)
    factor = np.sqrt(300 / replica.atoms.get_temperature())
    limit = max(3.0, 1 + 5 * np.sqrt(2 / 6))
    for heat, said in ((0.95 * limit, False), (1.05 * limit, True)):
        replica.atoms.set_momenta(momenta * factor * np.sqrt(heat))
        found = physics_check.check_step(replica.atoms, np.zeros((12, 3)))
        assert (found is not None) is said
    assert "temperature ran away" in found.reason


def test_runs_at_constant_energy_keep_fixed_atoms_at_rest(potential):
    structures = [column(FixAtoms([0, 1])), column(FixAtoms([0, 1, 2, 3]))]
    replicas = start_replicas(structures, 300, np.random.default_rng(0))
    assert (replicas[0].get_momenta()[:2] == 0).all()
    assert (np.abs(replicas[1].get_momenta()) > 0).all()  # only a variant of it can move: it runs free
    energies = total_energies(potential, replicas[:1], 1.0, 3)
    assert np.ptp(energies) < 1e-3


@pytest.fixture
def config(tmp_path):
    def load(atoms, name="slab.traj", explore=None, never_trained=None, **system):
        write(tmp_path / name, atoms)
        settings = {
            "name": "test",
            "folder": str(tmp_path / "run"),
            "seed": 4,
            "foundation": {"kind": "sevennet"},
            "systems": [{"file": name, **system}],
            "explore": {"temperatures_K": [300], **(explore or {})},
            "label": {"engine": {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}},
        }
        if never_trained is not None:
            write(tmp_path / "never.traj", never_trained)
            settings["hold_out"] = {"never_trained": [{"file": "never.traj"}]}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
        return load_config(tmp_path / "config.yaml")

    return load


def dense(constraint):
    atoms = bulk("Cu", cubic=True)
    atoms.set_constraint(constraint)
    return atoms


WRONG = [
    (
        dense(FixAtoms([0])),
        {"explore": {"ensemble": "npt"}},
        "slab.traj holds FixAtoms (1 atom), which a motion of the cell cannot follow",
    ),
    (
        dense(FixAtoms([0])),
        {"explore": {"ensemble": "npt"}},
        "carried along with the cell; set systems[0].ensemble to langevin or bussi, or remove it from the file",
    ),
    (
        dense(FixedPlane([0], [0, 0, 1])),
        {"explore": {"ensemble": "relax", "relax_cell": True}},
        "holds FixedPlane (1 atom), which a motion of the cell cannot follow",
    ),
    (dense(FixInternals(bonds=[[None, [0, 1]]])), {}, "slab.traj holds FixInternals, which nothing here follows"),
    (dense(FixAtoms([0, 1, 2, 3])), {}, "slab.traj holds every atom (FixAtoms (4 atoms)), so that nothing would move"),
    (
        dense(FixAtoms([9])),
        {},
        "systems[0].file: the structure Cu4 has a constraint of atom 9, but only the atoms 0 to 3",
    ),
    (dense(FixBondLengths([[0, 1]])), {"supercell": [2, 1, 1]}, "which is not known in the other cells of 2 x 1 x 1"),
    (dense(Hookean(0, [0.0, 0, 0], 1.0, 0.5)), {"strains": [0.01]}, "holds Hookean to a point or plane in space"),
    (
        dense([]),
        {"explore": {"ensemble": "npt"}, "variants": [[SURFACE]]},
        "systems[0].variants[0]: the structure of",
    ),
    (
        dense(FixAtoms([0])),
        {"variants": [[SURFACE]]},
        "systems[0].variants[0][0] (surface): the bulk Cu4 holds FixAtoms (1 atom), which a slab that is cut from it",
    ),
    (
        dense([]),
        {"never_trained": dense(FixInternals(bonds=[[None, [0, 1]]]))},
        "hold_out.never_trained[0]: the structure of",
    ),
]


@pytest.mark.parametrize(("atoms", "settings", "message"), WRONG)
def test_check_config_refuses_what_cannot_be_followed(config, atoms, settings, message):
    with pytest.raises(InputError) as caught:
        config(atoms, **settings)
    assert message in " ".join(str(caught.value).split())


def test_followed_constraints_pass(config):
    for ensemble in ("langevin", "nve", "bussi", "relax"):
        config(slab(), explore={"ensemble": ensemble})


def test_held_out_frames_keep_what_was_fixed(config, potential):
    loaded = config(slab(), explore={"steps": 4, "check_every": 2}, never_trained=slab(FixAtoms([0])))
    visits = hold_out(loaded, potential, loaded.folder / "held", held_out_starts(loaded))
    assert {visit.role for visit in visits} == {Role.TEST, Role.CALIBRATION, Role.NEVER_TRAINED}
    for visit in visits:
        fixed = [0] if visit.role is Role.NEVER_TRAINED else FIXED
        moved = (visit.atoms.positions != slab().positions).any(axis=1)
        assert not moved[fixed].any()
        assert np.delete(moved, fixed).all()


def test_a_later_round_goes_on_with_the_constraints_of_its_structure(config):
    loaded = config(heavy_slab(), explore={"from_failures": 1.0})
    (first,) = round_starts(loaded, 0, lambda _: {})
    after = emt_run(first.atoms.copy(), "nve")
    frame = Atoms(after.numbers, after.positions, cell=after.cell, pbc=True)  # stored without its constraints
    (again,) = round_starts(loaded, 1, lambda _: {first.trajectory: frame})
    assert again.trajectory.endswith("/continued")
    assert (again.atoms.positions == frame.positions).all()
    assert constraints_text(again.atoms.constraints) == constraints_text(first.intact.constraints)
    assert (again.atoms.get_masses() == first.atoms.get_masses()).all()
    (fresh,) = round_starts(loaded, 1, lambda _: {first.trajectory: frame[::-1]})
    assert not fresh.trajectory.endswith("/continued")  # equal atoms in another order: nobody knows which are fixed
