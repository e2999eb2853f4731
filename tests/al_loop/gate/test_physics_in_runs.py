"""The physics check along trajectories with real potentials; the long ones are in ``benchmarks/physics.py``."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet

from al_loop.config import PhysicsSettings
from al_loop.gate.physics import PhysicsCheck

CHECK_EVERY = 10
TOLD_K = 300.0


def watch(atoms, temperature_K, *, steps, timestep_fs=4.0, told_K=None, nve=False, before=None, start=None):
    """First refused step with its reason, None if there is none."""
    rng = np.random.default_rng(0)
    start = atoms.copy() if start is None else start
    if not atoms.has("momenta"):
        thermalize_momenta(atoms, temperature_K=temperature_K, rng=rng)
        Stationary(atoms)
    dt, friction = timestep_fs * units.fs, 0.01 / units.fs
    thermostat = {"temperature_K": temperature_K, "friction": friction, "rng": rng, "fixcm": False}
    dynamics = VelocityVerlet(atoms, dt) if nve else Langevin(atoms, dt, **thermostat)
    physics_check = PhysicsCheck(
        PhysicsSettings(),
        start,
        temperature_K if told_K is None else told_K,
        ensemble="nve" if nve else "langevin",
        timestep_fs=timestep_fs,
    )
    for step in range(steps + 1):
        if before is not None:
            before(step)
        look = physics_check.check if step % CHECK_EVERY == 0 else physics_check.check_step
        found = look(atoms, atoms.get_forces(), atoms.get_potential_energy())
        if found is not None:
            return step, found.reason
        dynamics.run(1)
    return None


def with_emt(atoms):
    atoms.calc = EMT()
    return atoms


def copper(lattice_A=3.63):
    return with_emt(bulk("Cu", a=lattice_A, cubic=True) * 2)


def methanol():
    from tblite.ase import TBLite

    atoms = molecule("CH3OH")
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    return atoms


@pytest.mark.parametrize(
    ("make", "temperature_K", "nve"),
    [
        (lambda: copper(3.61), 300, False),
        (lambda: copper(3.70), 1300, False),
        (lambda: copper(3.75), 2500, False),  # melts
        (copper, 600, True),
        (lambda: with_emt(fcc111("Cu", (2, 2, 4), vacuum=8.0, periodic=False)), 600, False),
        (lambda: with_emt(Icosahedron("Cu", 2)), 2500, False),  # loses atoms
    ],
    ids=["crystal", "near melting", "melting", "without thermostat", "slab", "evaporating"],
)
def test_healthy_matter_is_left_alone(make, temperature_K, nve):
    assert watch(make(), temperature_K, steps=60, nve=nve) is None


def test_a_healthy_molecule_is_left_alone():
    assert watch(methanol(), 600, steps=150, timestep_fs=0.5) is None


def test_a_thermostat_that_went_mad_is_caught():
    atoms = copper()
    atoms.set_momenta(np.zeros((32, 3)))
    _, reason = watch(atoms, 20000, steps=50, told_K=TOLD_K)
    assert "temperature ran away" in reason


@pytest.mark.parametrize("factor", [0.98, 1.02])
def test_a_cell_that_runs_away_is_caught(factor):
    atoms = copper()
    found = watch(
        atoms, 300, steps=50, before=lambda _: atoms.set_cell(atoms.cell * factor, scale_atoms=True), timestep_fs=2.0
    )
    assert found is not None


def test_a_model_without_repulsion_is_caught():
    class Hollow(EMT):
        """EMT and a pull between close atoms that outgrows its repulsion."""

        def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)):
            super().calculate(atoms, properties, system_changes)
            vectors = atoms.get_all_distances(mic=True, vector=True)
            distance = np.linalg.norm(vectors, axis=2) + 1e3 * np.eye(len(atoms))
            pull = 400.0 * np.exp(-distance / 0.5)
            self.results["energy"] -= pull.sum() / 2
            self.results["forces"] = self.results["forces"] + np.sum(
                (pull / 0.5 / distance)[:, :, None] * vectors, axis=1
            )

    atoms = bulk("Cu", a=3.63, cubic=True) * 2
    atoms.calc = Hollow()
    assert watch(atoms, 600, steps=50) is not None


def test_a_molecule_that_is_torn_apart_is_caught():
    atoms = methanol()
    bond = atoms.get_distance(1, 3, vector=True)

    def before(step):
        if step:
            atoms.positions[3] += 0.08 * bond / np.linalg.norm(bond)
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(TOLD_K / max(atoms.get_temperature(), 1.0)))

    step, _ = watch(atoms, TOLD_K, steps=50, timestep_fs=0.5, before=before)
    assert step > 0


def test_clusters_that_fly_into_each_other_are_caught_once_they_touch():
    other = Icosahedron("Cu", 2)
    other.positions += [9.0, 0.3, 0.2]
    atoms = with_emt(Icosahedron("Cu", 2) + other)
    atoms.set_velocities(np.repeat([[0.002, 0, 0], [-0.002, 0, 0]], 13, axis=0) / units.fs)
    step, reason = watch(atoms, TOLD_K, steps=150, nve=True)
    assert "merged" in reason
    assert step > CHECK_EVERY


def test_forces_that_are_no_gradient_are_caught_without_thermostat():
    class Curled(EMT):
        def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)):
            super().calculate(atoms, properties, system_changes)
            forces = self.results["forces"]
            self.results["forces"] = forces + 0.3 * np.roll(forces, 1, axis=1)

    atoms = bulk("Cu", a=3.63, cubic=True) * 2
    atoms.calc = Curled()
    _, reason = watch(atoms, 600, steps=50, nve=True)
    assert "drifted" in reason
