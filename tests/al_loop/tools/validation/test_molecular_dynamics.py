"""Dynamics: what is known of copper and argon, the same trajectory each time, and what breaks."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from unsound_calculators import NaNForces, Sticky

from al_loop.errors import NoAnswerError
from al_loop.tools.validation.molecular_dynamics import NO_STRESS, first_peak, molecular_dynamics
from al_loop.tools.validation.quantity import Quantity
from al_loop.tools.validation.short_md import density_g_per_cm3

WHOLE, CONSERVES, CLOSEST = (
    "stays whole (1 yes, 0 no)",
    "conserves energy (1 yes, 0 no)",
    "shortest distance over covalent radii",
)
PEAK, HEIGHT, NEIGHBOURS, DENSITY = (
    "first peak of g(r)",
    "height of the first peak",
    "neighbours in the first peak",
    "density",
)
SHORT = {"nvt_steps": 30, "nve_steps": 10, "npt_steps": 45, "least_size_A": 4.0}


def by_name(found: list[Quantity]) -> dict[str, Quantity]:
    return {quantity.name: quantity for quantity in found}


@pytest.fixture(scope="module")
def of_copper() -> dict[str, Quantity]:
    return by_name(molecular_dynamics(bulk("Cu"), EMT(), **SHORT))


def test_copper(of_copper: dict[str, Quantity]) -> None:
    assert set(of_copper) == {WHOLE, CONSERVES, CLOSEST, PEAK, HEIGHT, NEIGHBOURS, DENSITY}
    assert of_copper[WHOLE].value == 1.0
    assert of_copper[CONSERVES].value == 1.0
    assert of_copper[PEAK].value == pytest.approx(2.55, abs=0.05)
    assert of_copper[NEIGHBOURS].value == pytest.approx(12, abs=0.5)
    assert of_copper[DENSITY].value == pytest.approx(8.96, rel=0.05)
    assert 0.8 < of_copper[CLOSEST].value < 0.95
    assert of_copper[DENSITY].unit == "g/cm³"
    assert "±" in of_copper[DENSITY].note
    assert "8 atoms, 300 K" in of_copper[PEAK].note


def test_the_same_trajectory_each_time() -> None:
    steps = {**SHORT, "nvt_steps": 10, "nve_steps": 5, "npt_steps": 10}
    first, again, other = (molecular_dynamics(bulk("Cu"), EMT(), **steps, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert by_name(other)[CLOSEST].value != by_name(first)[CLOSEST].value


def test_a_cell_that_is_too_large_shrinks_under_npt() -> None:
    stretched = bulk("Cu", a=3.75)
    steps = {**SHORT, "nvt_steps": 10, "nve_steps": 0, "npt_steps": 60}
    found = by_name(molecular_dynamics(stretched, EMT(), **steps, barostat_fs=30))
    assert found[DENSITY].value > density_g_per_cm3(stretched) * 1.02


def test_energy_that_is_lost_is_noticed() -> None:
    """Forces that are not those of the energy."""

    class Dragged(EMT):
        def calculate(self, atoms=None, properties=("energy",), system_changes=None):
            super().calculate(atoms, list(properties), system_changes or [])
            self.results["forces"] = self.results["forces"] - 2.0 * atoms.get_velocities()

    found = by_name(molecular_dynamics(bulk("Cu"), Dragged(), **{**SHORT, "npt_steps": 0}))
    assert found[CONSERVES].value == 0.0
    assert "drifted by -" in found[CONSERVES].note


def test_a_collapse_is_noticed_and_nothing_is_averaged() -> None:
    found = by_name(molecular_dynamics(bulk("Cu"), Sticky(50.0), **SHORT))
    assert found[WHOLE].value == 0.0
    assert "stopped after" in found[WHOLE].note
    assert {found[name].value for name in (CONSERVES, PEAK, HEIGHT, NEIGHBOURS, DENSITY)} == {None}


def test_a_calculation_that_fails_says_nothing_of_matter() -> None:
    found = by_name(molecular_dynamics(bulk("Cu"), NaNForces(), **SHORT))
    assert found[WHOLE].value == 0.0  # numbers that are none are unphysical
    assert "non-finite" in found[WHOLE].note

    class Failing(EMT):
        def calculate(self, atoms=None, properties=("energy",), system_changes=None):
            raise RuntimeError("out of memory")

    broken = molecular_dynamics(bulk("Cu"), Failing(), **SHORT)
    assert {quantity.value for quantity in broken} == {None}
    assert all("out of memory" in quantity.note for quantity in broken)


def test_without_stress_there_is_no_density() -> None:
    calculator = EMT()
    calculator.implemented_properties = ("energy", "forces")
    found = by_name(molecular_dynamics(bulk("Cu"), calculator, **{**SHORT, "nvt_steps": 10}))
    assert found[DENSITY].value is None
    assert found[DENSITY].note == NO_STRESS
    assert found[WHOLE].value == 1.0


def test_molecules_and_slabs_have_bonds_but_no_density() -> None:
    found = by_name(molecular_dynamics(Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 3.8]]), _argon(), **SHORT))
    assert set(found) == {WHOLE, CONSERVES, CLOSEST, "bonded neighbours"}
    slab = fcc111("Cu", (1, 1, 3), vacuum=8, periodic=True)
    found = by_name(molecular_dynamics(slab, EMT(), **SHORT))
    assert found["bonded neighbours"].value == pytest.approx(10, abs=0.5)  # 9 at each face, 12 inside


def _argon() -> LennardJones:
    return LennardJones(sigma=3.4, epsilon=0.0104, rc=8)


def test_the_given_structure_is_left_alone() -> None:
    given = bulk("Cu", cubic=True)
    before = given.copy()
    found = by_name(molecular_dynamics(given, EMT(), nvt_steps=2, nve_steps=2, npt_steps=2, least_size_A=2))
    assert found[PEAK].value is None
    assert "too few steps" in found[DENSITY].note
    assert given == before
    assert not given.has("momenta")


def rattled(crystal: Atoms) -> list[Atoms]:
    frames = [crystal.repeat(3) for _ in range(4)]
    for seed, frame in enumerate(frames):
        frame.rattle(0.03, seed=seed)
    return frames


@pytest.mark.parametrize(
    ("crystal", "distance", "neighbours"),
    [
        (bulk("Cu", cubic=True), 3.61 / np.sqrt(2), 12),
        (bulk("Si", cubic=True), 5.43 * np.sqrt(3) / 4, 4),
        (bulk("NaCl", "rocksalt", 5.64, cubic=True), 2.82, 6),
        (bulk("Fe", cubic=True), 2.87 * np.sqrt(3) / 2, 8),
    ],
)
def test_first_shells_of_crystals(crystal: Atoms, distance: float, neighbours: int) -> None:
    found = first_peak(rattled(crystal))
    assert found.distance_A == pytest.approx(distance, abs=0.02)
    assert found.neighbours == pytest.approx(neighbours, abs=0.05)
    width = np.hypot(0.06, 0.03 * np.sqrt(2))  # of smoothing and rattling
    density = len(crystal) / crystal.get_volume()
    expected = neighbours / (4 * np.pi * distance**2 * density * width * np.sqrt(2 * np.pi))
    assert found.height == pytest.approx(expected, rel=0.05)


def test_an_empty_cell_has_no_peak() -> None:
    with pytest.raises(NoAnswerError, match="no peak"):
        first_peak([Atoms("He", cell=[9, 9, 9], pbc=True)])
