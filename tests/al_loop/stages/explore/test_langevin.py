"""The lockstep propagator against ASE's own."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, thermalize_momenta

from al_loop.dynamics.constant_volume import LangevinReplica


def forces_of(atoms):
    copy = atoms.copy()
    copy.calc = EMT()
    return copy.get_forces()


def test_same_seed_gives_ases_trajectory():
    start = bulk("Cu", cubic=True)
    start.rattle(0.05, rng=np.random.default_rng(0))

    reference = start.copy()
    rng = np.random.default_rng(3)
    thermalize_momenta(reference, temperature_K=900, rng=rng)
    Stationary(reference, preserve_temperature=False)
    reference.calc = EMT()
    Langevin(reference, 2 * units.fs, temperature_K=900, friction=0.02 / units.fs, fixcm=False, rng=rng).run(25)

    replica = LangevinReplica(start.copy(), 900, 2.0, 20.0, np.random.default_rng(3))
    forces = forces_of(replica.atoms)
    for _ in range(25):
        replica.move(forces)
        forces = forces_of(replica.atoms)
        replica.finish(forces)

    np.testing.assert_allclose(replica.atoms.positions, reference.positions, atol=1e-10)
    np.testing.assert_allclose(replica.atoms.get_velocities(), reference.get_velocities(), atol=1e-10)


def test_the_thermostat_keeps_its_temperature():
    atoms = bulk("Cu", cubic=True) * (3, 3, 3)
    replica = LangevinReplica(atoms, 500, 2.0, 50.0, np.random.default_rng(0))
    temperatures = []
    for step in range(600):  # free particles: the thermostat alone sets the temperature
        replica.move(np.zeros((len(atoms), 3)))
        replica.finish(np.zeros((len(atoms), 3)))
        if step > 100:
            temperatures.append(replica.atoms.get_temperature())
    assert np.mean(temperatures) == pytest.approx(500, rel=0.05)
