"""Constraints in every propagator: against ASE's own integrators, and a slab of which fixed atoms never move."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.constraints import (
    ExternalForce,
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixedLine,
    FixedMode,
    FixedPlane,
    FixInternals,
    FixLinearTriatomic,
    FixScaled,
    FixSubsetCom,
    Hookean,
    MirrorForce,
)
from ase.io import read, write
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import FIRE

from al_loop.config import ExploreSettings
from al_loop.dynamics.ensembles import make_replica
from al_loop.errors import InputError
from al_loop.files.structures import read_structure
from al_loop.frames.constraints.motion import displaced, md_forces, restraint_energy_eV, temperature_K
from al_loop.frames.constraints.policy import Motion, degrees_of_freedom, followed, moving_atoms, refusal

STEPS = 20
SETTINGS = ExploreSettings(
    temperatures_K=(600,), timestep_fs=2.0, friction_per_ps=20.0, bussi_relaxation_fs=50.0, rattle_A=0.0
)
DYNAMICS = ("nve", "langevin", "bussi")


def slab(layers=3):
    """Cu(111) in a hexagonal cell; tag 3 is the lowest layer."""
    atoms = fcc111("Cu", (2, 2, layers), vacuum=6.0)
    atoms.pbc = True
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)


def water_box():
    """Two molecules that EMT knows, apart from each other."""
    atoms = molecule("CO2")
    other = molecule("H2O")
    other.translate([4.0, 0, 0])
    return atoms + other


def held(*constraints, of=slab):
    atoms = of()
    atoms.set_constraint(list(constraints))
    return atoms


def forces_of(atoms):
    copy = atoms.copy()
    copy.calc = EMT()
    return copy.get_forces(apply_constraint=False)


def run(replica, steps=STEPS, each=lambda _: None):
    forces = forces_of(replica.atoms)
    replica.begin(forces, None)
    for _ in range(steps):
        replica.move(forces)
        forces = forces_of(replica.atoms)
        replica.finish(forces)
        each(replica.atoms)
    return replica


def replica_of(atoms, ensemble, seed=3):
    return make_replica(ensemble, atoms.copy(), 600, SETTINGS, np.random.default_rng(seed))


def ases(atoms, ensemble, seed=3):
    """Trajectory of ASE's integrator with the same seed and constraints."""
    reference, rng = atoms.copy(), np.random.default_rng(seed)
    if ensemble == "relax":
        reference.calc = EMT()
        FIRE(reference, logfile=None).run(fmax=0, steps=STEPS)
        return reference
    thermalize_momenta(reference, temperature_K=600, rng=rng)
    reference.calc = EMT()
    step = 2 * units.fs
    dynamics = {
        "nve": lambda: VelocityVerlet(reference, step),
        "langevin": lambda: Langevin(
            reference, step, temperature_K=600, friction=0.02 / units.fs, fixcm=False, rng=rng
        ),
        "bussi": lambda: Bussi(reference, step, 600, 50 * units.fs, rng=rng),
    }
    dynamics[ensemble]().run(STEPS)
    return reference


LOWER = range(4)
AS_ASE = {
    "FixAtoms": lambda: held(FixAtoms([0, 1, 2, 3, 7])),
    "FixCartesian": lambda: held(FixCartesian([0, 1], (True, False, False)), FixCartesian([5], (False, True, True))),
    "FixedLine": lambda: held(FixedLine(list(LOWER), [1, 2, 0.5])),
    "FixedPlane": lambda: held(FixedPlane([0, 6], [0, 1, 1]), FixAtoms([1])),
    "FixCom": lambda: held(FixCom()),
    "Hookean": lambda: held(Hookean(8, 9, 4.0, rt=2.0), FixAtoms(list(LOWER))),
    "Hookean-plane": lambda: held(Hookean(8, (0, 0, 1, -9.9), 5.0), FixAtoms(list(LOWER))),
    "FixScaled-orthogonal": lambda: held(
        FixScaled([0, 1], (True, False, False)), of=lambda: bulk("Cu", cubic=True) * 2
    ),
}


@pytest.mark.parametrize(
    ("kind", "ensemble"),
    [
        *((kind, ensemble) for kind in list(AS_ASE)[:4] for ensemble in (*DYNAMICS, "relax")),
        *((kind, "langevin") for kind in list(AS_ASE)[4:]),
        ("Hookean", "nve"),
        ("Hookean", "relax"),
    ],
)
def test_the_same_seed_gives_ases_constrained_trajectory(kind, ensemble):
    atoms = AS_ASE[kind]()
    atoms.positions = displaced(atoms, np.random.default_rng(1).normal(0, 0.05, (len(atoms), 3))).positions
    replica, reference = run(replica_of(atoms, ensemble)), ases(atoms, ensemble)
    np.testing.assert_allclose(replica.atoms.positions, reference.positions, atol=1e-10)
    assert np.abs(replica.atoms.positions - atoms.positions).max() > 0.02
    if ensemble != "relax":
        np.testing.assert_allclose(replica.atoms.get_velocities(), reference.get_velocities(), atol=1e-10)


@pytest.mark.parametrize("ensemble", DYNAMICS)
def test_rigid_bonds_are_ases(ensemble):
    atoms = held(FixBondLengths([[0, 1], [0, 2], [1, 2]]))
    reference, rng = atoms.copy(), np.random.default_rng(3)
    thermalize_momenta(reference, temperature_K=600, rng=rng)
    momenta = reference.get_momenta()
    momenta -= momenta.sum(0) / len(atoms)  # equal masses: the drift that is taken out of a free structure
    start = atoms.copy()
    start.set_momenta(momenta)
    replica = run(make_replica(ensemble, start, 600, SETTINGS, np.random.default_rng(9)))
    reference.set_momenta(momenta)
    reference.calc, rng = EMT(), np.random.default_rng(9)
    {
        "nve": lambda: VelocityVerlet(reference, 2 * units.fs),
        "langevin": lambda: Langevin(
            reference, 2 * units.fs, temperature_K=600, friction=0.02 / units.fs, fixcm=False, rng=rng
        ),
        "bussi": lambda: Bussi(reference, 2 * units.fs, 600, 50 * units.fs, rng=rng),
    }[ensemble]().run(STEPS)
    np.testing.assert_allclose(replica.atoms.positions, reference.positions, atol=1e-9)
    for pair in ([0, 1], [0, 2], [1, 2]):
        assert replica.atoms.get_distance(*pair, mic=True) == pytest.approx(atoms.get_distance(*pair, mic=True), 1e-9)


def scaled_reference(mask):
    """Free directions of an atom with fixed fractional coordinates ``mask``: a line or plane of lattice vectors."""
    cell = slab().cell.array
    free = cell[~np.array(mask)]
    return FixedLine([0, 5], free[0]) if len(free) == 1 else FixedPlane([0, 5], np.cross(*free))


@pytest.mark.parametrize("ensemble", ["nve", "langevin"])
@pytest.mark.parametrize("mask", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1)])
def test_selective_dynamics_per_component_hold_fractional_coordinates_of_a_skewed_cell(mask, ensemble):
    """ASE's own FixScaled does not conserve energy here: its projection of velocities is right in orthogonal cells."""
    mask = np.array(mask, dtype=bool)
    atoms, reference = held(FixScaled([0, 5], mask)), held(scaled_reference(mask))
    before = atoms.get_scaled_positions(wrap=False)
    after = run(replica_of(atoms, ensemble)).atoms
    np.testing.assert_allclose(
        after.get_scaled_positions(wrap=False)[[0, 5]][:, mask], before[[0, 5]][:, mask], atol=1e-12
    )
    assert np.abs(after.get_scaled_positions(wrap=False) - before)[[0, 5]][:, ~mask].max() > 1e-3
    np.testing.assert_allclose(after.positions, ases(reference, ensemble).positions, atol=1e-10)
    assert degrees_of_freedom(atoms) == 36 - 2 * mask.sum()


CONSERVING = {
    **AS_ASE,
    "FixBondLengths": lambda: held(FixBondLengths([[0, 1], [1, 2], [4, 5]])),
    "FixScaled": lambda: held(FixScaled([0, 5], (True, False, False))),
    "FixLinearTriatomic": lambda: held(FixLinearTriatomic([[1, 0, 2]]), of=water_box),
}


@pytest.mark.parametrize("kind", CONSERVING)
def test_the_total_energy_of_everything_that_is_followed_is_conserved(kind):
    settings = SETTINGS.model_copy(update={"timestep_fs": 0.1 if kind == "FixLinearTriatomic" else 2.0})
    replica = make_replica("nve", CONSERVING[kind](), 300, settings, np.random.default_rng(2))
    totals = []

    def look(atoms):
        copy = atoms.copy()
        copy.calc = EMT()
        energy = copy.get_potential_energy(apply_constraint=False)
        totals.append(energy + restraint_energy_eV(atoms) + atoms.get_kinetic_energy())

    run(replica, 40, look)
    assert np.ptp(totals) < 0.02 * units.kB * 300 * moving_atoms(replica.atoms)


@pytest.mark.parametrize("kind", CONSERVING)
def test_first_velocities_have_the_temperature_over_what_moves(kind):
    rng = np.random.default_rng(0)
    start = CONSERVING[kind]()
    found = [temperature_K(make_replica("nve", start.copy(), 300, SETTINGS, rng).atoms) for _ in range(60)]
    drift = 3 if kind in {"FixBondLengths", "FixLinearTriatomic"} else 0
    freedom = degrees_of_freedom(start)
    expected = 300 * (freedom - drift) / freedom
    assert np.mean(found) == pytest.approx(expected, abs=4 * 300 * np.sqrt(2 / freedom / len(found)))


def fixed_layers(tmp_path):
    atoms = slab()
    atoms.set_constraint(FixAtoms(list(range(8))))
    write(tmp_path / "slab-fixed-layers.extxyz", atoms)
    return tmp_path / "slab-fixed-layers.extxyz"


def selective_dynamics(tmp_path):
    atoms = slab()
    atoms.set_constraint(FixAtoms(list(range(8))))
    write(tmp_path / "slab-selective-dynamics.vasp", atoms, format="vasp")
    return tmp_path / "slab-selective-dynamics.vasp"


@pytest.mark.parametrize(
    ("make_file", "ensemble"),
    [*((fixed_layers, ensemble) for ensemble in (*DYNAMICS, "relax")), (selective_dynamics, "langevin")],
)
def test_fixed_atoms_of_a_slab_move_by_exactly_0_in_500_steps(tmp_path, make_file, ensemble):
    atoms = read_structure(make_file(tmp_path))
    start = displaced(atoms, np.random.default_rng(1).normal(0, 0.1, (12, 3)))
    assert (start.positions[:8] == atoms.positions[:8]).all()
    temperatures = []
    replica = run(replica_of(start, ensemble), 500, lambda moved: temperatures.append(moved.get_temperature()))
    way = np.abs(replica.atoms.positions - atoms.positions).max(axis=1)
    assert (way[:8] == 0).all()
    assert (way[8:] > 1e-3).all()
    assert (replica.atoms.get_momenta()[:8] == 0).all()
    if ensemble in {"langevin", "bussi"}:
        assert np.mean(temperatures[100:]) == pytest.approx(600, rel=0.2)


def test_one_free_atom_thermalises_over_its_three_directions():
    replica = replica_of(held(FixAtoms(list(range(11)))), "langevin")
    temperatures = []
    run(replica, 600, lambda atoms: temperatures.append(atoms.get_temperature()))
    assert degrees_of_freedom(replica.atoms) == 3
    assert moving_atoms(replica.atoms) == 1
    assert np.mean(temperatures) == pytest.approx(600, rel=0.4)


def test_overlapping_constraints_count_each_direction_once():
    atoms = held(
        FixAtoms([0, 1]), FixAtoms([1, -11]), FixCartesian([1, 2], (True, False, False)), FixedLine([2, 3], [1, 0, 0])
    )
    # 0 and 1 are fixed; 2 may neither leave nor move along its line; 3 moves along it
    assert degrees_of_freedom(atoms) == 36 - 3 - 3 - 3 - 2
    assert atoms.get_number_of_degrees_of_freedom() != degrees_of_freedom(atoms)
    replica = run(replica_of(atoms, "bussi"))
    way = np.abs(replica.atoms.positions - atoms.positions)
    assert (way[:3] == 0).all()
    assert (way[3, 1:] == 0).all()
    assert way[3, 0] > 0
    assert replica.atoms.get_number_of_degrees_of_freedom() == degrees_of_freedom(atoms)


def test_a_constraint_of_no_atom_changes_no_bit():
    """FHI-aims and move_mask files give such; the drift is taken out as of any free structure."""
    for ensemble in (*DYNAMICS, "relax"):
        plain, empty = run(replica_of(slab(), ensemble), 3), run(replica_of(held(FixAtoms([])), ensemble), 3)
        assert (plain.atoms.positions == empty.atoms.positions).all()
        assert (plain.atoms.get_momenta() == empty.atoms.get_momenta()).all()


@pytest.mark.parametrize(
    ("kind", "ensemble"),
    [
        *(("FixAtoms", ensemble) for ensemble in (*DYNAMICS, "relax")),
        *((kind, "langevin") for kind in ("FixedPlane", "FixCom", "FixBondLengths", "FixLinearTriatomic", "FixScaled")),
        ("FixBondLengths", "nve"),
        ("FixBondLengths", "relax"),
        ("Hookean", "bussi"),
    ],
)
def test_a_constrained_replica_goes_on_from_its_state_bit_for_bit(kind, ensemble):
    atoms = CONSERVING[kind]()
    whole, first, later = run(replica_of(atoms, ensemble), 12), run(replica_of(atoms, ensemble), 5), None
    later = replica_of(atoms, ensemble)
    later.restore(first.state())
    later.rng.bit_generator.state = first.rng.bit_generator.state
    forces = forces_of(later.atoms)
    for _ in range(7):
        later.move(forces)
        forces = forces_of(later.atoms)
        later.finish(forces)
    assert (later.atoms.positions == whole.atoms.positions).all()
    assert (later.atoms.get_momenta() == whole.atoms.get_momenta()).all()


def test_velocities_of_a_file_do_not_move_what_is_fixed():
    atoms = held(FixAtoms(list(range(8))))
    atoms.set_momenta(np.ones((12, 3)), apply_constraint=False)
    replica = replica_of(atoms, "nve")
    assert (replica.atoms.get_momenta()[:8] == 0).all()
    assert (replica.atoms.get_momenta()[8:] == 1).all()


REFUSED = {
    "FixInternals": lambda: held(FixInternals(bonds=[[None, [0, 1]]])),
    "FixSubsetCom": lambda: held(FixSubsetCom([0, 1])),
    "FixedMode": lambda: held(FixedMode(np.ones((12, 3)))),
    "ExternalForce": lambda: held(ExternalForce(8, 9, 0.2)),
    "MirrorForce": lambda: held(MirrorForce(0, 1)),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_kinds_that_cannot_be_followed_are_refused_by_name(kind):
    for ensemble in (*DYNAMICS, "relax"):
        with pytest.raises(InputError, match=f"holds {kind}, which nothing here follows.*remove it from the file"):
            replica_of(REFUSED[kind](), ensemble)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (held(FixAtoms(list(range(12)))), r"holds every atom \(FixAtoms \(12 atoms\)\), so that nothing would move"),
        (held(FixCom(), FixAtoms([0])), "FixCom beside FixAtoms"),
        (held(FixBondLengths([[0, 1]]), FixAtoms([1])), "atom 1 by FixBondLengths and by FixAtoms"),
        (held(FixAtoms([12])), "has a constraint of atom 12, but only the atoms 0 to 11"),
        (
            held(FixBondLengths([[i, j] for i in range(4) for j in range(i)]), of=lambda: molecule("BF3")),
            r"the 6 bonds among atoms \[0, 1, 2, 3\] by FixBondLengths, some of which follow from the others",
        ),
    ],
)
def test_contradictions_are_refused(atoms, message):
    with pytest.raises(InputError, match=message):
        followed(atoms, Motion.DYNAMICS)


@pytest.mark.parametrize("kind", [*AS_ASE, "FixBondLengths"])
def test_nothing_is_followed_while_the_cell_moves(kind):
    atoms = CONSERVING[kind]()
    assert "atoms that are held would be carried along with the cell" in (refusal(atoms, Motion.CELL) or "")
    with pytest.raises(InputError, match="a motion of the cell cannot follow"):
        replica_of(atoms, "npt")
    relax_cell = SETTINGS.model_copy(update={"relax_cell": True})
    with pytest.raises(InputError, match="a motion of the cell cannot follow"):
        make_replica("relax", atoms, 0, relax_cell, np.random.default_rng(0))


def test_forces_for_dynamics_are_ases():
    for make in (AS_ASE["Hookean"], AS_ASE["FixAtoms"], CONSERVING["FixLinearTriatomic"]):
        atoms = make()
        atoms.calc = EMT()
        np.testing.assert_allclose(md_forces(atoms, forces_of(atoms)), atoms.get_forces(md=True), atol=1e-12)


def test_rigid_bonds_survive_a_displacement_or_it_is_refused():
    atoms = held(FixBondLengths([[0, 1], [2, 3]]))
    moved = displaced(atoms, np.random.default_rng(0).normal(0, 0.1, (12, 3)))
    for pair in ([0, 1], [2, 3]):
        assert moved.get_distance(*pair, mic=True) == pytest.approx(atoms.get_distance(*pair, mic=True), 1e-9)
    far = np.zeros((12, 3))
    far[0] = [0, 0, 50.0]
    with pytest.raises(InputError, match="does not satisfy the constraints"):
        displaced(atoms, far)


def test_a_file_of_all_three_components_is_read_per_component(tmp_path):
    atoms = held(FixCartesian([0, 1], (True, True, False)), FixAtoms([2]))
    write(tmp_path / "mask.extxyz", atoms)
    known = read_structure(tmp_path / "mask.extxyz")
    assert read(tmp_path / "mask.extxyz").constraints
    assert degrees_of_freedom(known) == 36 - 4 - 3
    after, atoms = run(replica_of(known, "langevin"), 20).atoms, known
    assert (after.positions[:2, :2] == atoms.positions[:2, :2]).all()
    assert (after.positions[2] == atoms.positions[2]).all()
    assert np.abs(after.positions[:2, 2] - atoms.positions[:2, 2]).min() > 0
