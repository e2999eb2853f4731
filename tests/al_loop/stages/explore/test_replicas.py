"""Every propagator against ASE's own, with the same generator and forces."""

import warnings

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import FIRE

from al_loop.dynamics.constant_volume import BussiReplica, LangevinReplica, VerletReplica
from al_loop.dynamics.fire import RelaxingReplica
from al_loop.dynamics.npt import NPTReplica

STEPS = 25
TIMESTEP_FS = 2.0
RAMP_K = np.linspace(900, 300, STEPS)
RAMP_GPA = np.linspace(0, 5, STEPS)


def start():
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.rattle(0.05, rng=np.random.default_rng(0))
    return atoms


def forces_and_stress(atoms):
    copy = atoms.copy()
    copy.calc = EMT()
    return copy.get_forces(), copy.get_stress()


def turn_nothing(_replica, _step):
    """Constant conditions."""


def run(replica, steps=STEPS, turn=turn_nothing):
    forces, stress = forces_and_stress(replica.atoms)
    replica.begin(forces, stress)
    for step in range(steps):
        turn(replica, step)
        replica.move(forces)
        forces, stress = forces_and_stress(replica.atoms)
        replica.finish(forces, stress)
    return replica


def thermal(temperature_K=900):
    """ASE's side: the same structure and velocities, and the generator where it is after them."""
    atoms, rng = start(), np.random.default_rng(3)
    thermalize_momenta(atoms, temperature_K=temperature_K, rng=rng)
    Stationary(atoms, preserve_temperature=False)
    atoms.calc = EMT()
    return atoms, rng


def assert_same(replica, reference):
    np.testing.assert_allclose(replica.atoms.positions, reference.positions, atol=1e-10)
    np.testing.assert_allclose(replica.atoms.get_velocities(), reference.get_velocities(), atol=1e-10)
    np.testing.assert_allclose(replica.atoms.cell.array, reference.cell.array, atol=1e-10)


def ramp(dynamics, steps=STEPS):
    for step in range(steps):
        dynamics.set_temperature(temperature_K=RAMP_K[step])
        dynamics.run(1)


def turn_thermostat(replica, step):
    replica.set_temperature(RAMP_K[step])


def langevin():
    return LangevinReplica(start(), 900, TIMESTEP_FS, 20.0, np.random.default_rng(3))


def verlet():
    return VerletReplica(start(), 900, TIMESTEP_FS, np.random.default_rng(3))


def bussi():
    return BussiReplica(start(), 900, TIMESTEP_FS, 50.0, np.random.default_rng(3))


def npt(pressure_GPa=2.0):
    return NPTReplica(start(), 900, pressure_GPa, TIMESTEP_FS, 20.0, 300.0, np.random.default_rng(3))


def relax(pressure_GPa=None):
    return RelaxingReplica(start(), np.random.default_rng(3), pressure_GPa)


def ase_npt(pressure_GPa=2.0):
    atoms, rng = thermal()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using heuristic P_mass")  # the very heuristic is compared
        return LangevinBAOAB(
            atoms,
            TIMESTEP_FS * units.fs,
            temperature_K=900,
            externalstress=-pressure_GPa * units.GPa,
            hydrostatic=True,
            T_tau=50 * units.fs,
            P_tau=300 * units.fs,
            rng=rng,
        )


def test_nve_is_ases():
    reference, _ = thermal()
    VelocityVerlet(reference, TIMESTEP_FS * units.fs).run(STEPS)
    assert_same(run(verlet()), reference)


def test_bussi_is_ases():
    reference, rng = thermal()
    Bussi(reference, TIMESTEP_FS * units.fs, 900, 50 * units.fs, rng=rng).run(STEPS)
    assert_same(run(bussi()), reference)


def test_npt_is_ases():
    dynamics = ase_npt()
    dynamics.run(STEPS)
    replica = run(npt())
    assert_same(replica, dynamics.atoms)
    assert replica.atoms.get_volume() != pytest.approx(start().get_volume(), rel=1e-4)


def test_a_langevin_ramp_is_ases():
    reference, rng = thermal()
    ramp(Langevin(reference, TIMESTEP_FS * units.fs, temperature_K=900, friction=0.02 / units.fs, fixcm=False, rng=rng))
    assert_same(run(langevin(), turn=turn_thermostat), reference)


def test_a_ramp_of_temperature_and_pressure_is_ases():
    dynamics = ase_npt()
    for step in range(STEPS):
        dynamics.set_temperature(RAMP_K[step])
        dynamics.externalstress = -RAMP_GPA[step] * units.GPa
        dynamics.run(1)

    def turn(replica, step):
        replica.set_temperature(RAMP_K[step])
        replica.set_pressure(RAMP_GPA[step])

    assert_same(run(npt(), turn=turn), dynamics.atoms)


@pytest.mark.parametrize("pressure_GPa", [None, 3.0])
def test_relaxation_is_ases(pressure_GPa):
    reference = start()
    reference.calc = EMT()
    moved = reference
    if pressure_GPa is not None:
        moved = FrechetCellFilter(reference, scalar_pressure=pressure_GPa * units.GPa)
    FIRE(moved, logfile=None).run(fmax=0, steps=STEPS)
    replica = run(relax(pressure_GPa))
    np.testing.assert_allclose(replica.atoms.positions, reference.positions, atol=1e-10)
    np.testing.assert_allclose(replica.atoms.cell.array, reference.cell.array, atol=1e-10)


def test_a_relaxation_ends_at_the_minimum():
    replica = run(relax(0.0), steps=120)
    assert replica.converged(0.01)
    forces, stress = forces_and_stress(replica.atoms)
    assert np.abs(forces).max() < 0.01
    assert np.abs(stress).max() < 1e-3


@pytest.mark.parametrize("make", [langevin, verlet, bussi, npt, relax, lambda: relax(1.0)])
def test_a_replica_goes_on_from_its_state_bit_for_bit(make):
    whole = run(make(), steps=20)
    first = run(make(), steps=9)
    later = make()
    later.restore(first.state())
    later.rng.bit_generator.state = first.rng.bit_generator.state
    forces, stress = forces_and_stress(later.atoms)
    for _ in range(11):
        later.move(forces)
        forces, stress = forces_and_stress(later.atoms)
        later.finish(forces, stress)
    assert (later.atoms.positions == whole.atoms.positions).all()
    assert (later.atoms.get_momenta() == whole.atoms.get_momenta()).all()
    assert (later.atoms.cell.array == whole.atoms.cell.array).all()


@pytest.mark.parametrize("make", [langevin, verlet, bussi, npt])
def test_dynamics_never_converges(make):
    assert not run(make(), steps=2).converged(1e9)


def test_energy_is_conserved_without_a_thermostat():
    atoms, replica = start(), verlet()
    atoms.calc = EMT()
    totals = []
    for _ in range(4):
        run(replica, steps=10)
        atoms.positions = replica.atoms.positions
        totals.append(atoms.get_potential_energy() + replica.atoms.get_kinetic_energy())
    assert np.ptp(totals) < 2e-3


def test_the_barostat_finds_the_volume_of_its_pressure():
    """Against the volume at which EMT's own pressure is that of the barostat."""
    atoms = start()
    atoms.calc = EMT()
    FIRE(FrechetCellFilter(atoms, scalar_pressure=10 * units.GPa, hydrostatic_strain=True), logfile=None).run(fmax=0.01)
    replica = NPTReplica(start(), 100, 10.0, 3.0, 20.0, 100.0, np.random.default_rng(5))
    volumes = [run(replica, steps=5).atoms.get_volume() for _ in range(120)]
    assert np.mean(volumes[30:]) == pytest.approx(atoms.get_volume(), rel=0.01)


def test_a_cell_that_bursts_stays_in_finite_numbers():
    replica = npt()
    replica.begin(np.zeros((8, 3)), np.full(6, -1e6))
    replica.move(np.zeros((8, 3)))
    assert np.isfinite(replica.atoms.cell.array).all()
    assert replica.atoms.get_volume() > 2 * start().get_volume()


def test_bussi_leaves_a_single_atom_at_rest_alone():
    atoms = bulk("Cu")
    replica = BussiReplica(atoms, 300, 1.0, 50.0, np.random.default_rng(0))
    replica.move(np.zeros((1, 3)))
    assert np.isfinite(replica.atoms.positions).all()
