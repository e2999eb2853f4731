"""Surface energies: EMT against slabs that ASE builds, which slabs have equal faces, and calculators that fail."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc100, fcc110, fcc111, molecule
from ase.calculators.emt import EMT
from ase.optimize import BFGS
from unsound_calculators import NaNForces, Refusing

from al_loop.tools.validation.bulk import is_bulk, is_crystal
from al_loop.tools.validation.quantity import Quantity
from al_loop.tools.validation.slabs import area_A2, conventional, facets, slab
from al_loop.tools.validation.surfaces import GROUP, surfaces

A_EMT = 3.5896  # lattice constant of copper under EMT
LOW_INDEX = {"(100)": (fcc100, 6), "(110)": (fcc110, 9), "(111)": (fcc111, 6)}


@pytest.fixture(scope="module")
def of_copper() -> dict[str, Quantity]:
    return {quantity.name: quantity for quantity in surfaces(bulk("Cu", cubic=True), EMT())}


def relaxed_energy(atoms: Atoms) -> float:
    atoms.calc = EMT()
    BFGS(atoms, logfile=None).run(fmax=0.005)
    return float(atoms.get_potential_energy())


def cuts(atoms: Atoms) -> dict[str, int]:
    found = facets(conventional(atoms), max_index=1, thickness_A=10, most_terminations=3)
    return {facet.name: len(facet.shifts) for facet in found}


def test_close_packed_surfaces_of_copper_are_the_cheapest(of_copper: dict[str, Quantity]) -> None:
    values = {name: quantity.value for name, quantity in of_copper.items()}
    assert sorted(values, key=lambda name: values[name]) == ["(111)", "(100)", "(110)"]
    assert {(quantity.unit, quantity.order_group) for quantity in of_copper.values()} == {("J/m²", GROUP)}


@pytest.mark.parametrize("name", LOW_INDEX)
def test_against_slabs_that_ase_builds(name: str, of_copper: dict[str, Quantity]) -> None:
    build, layers = LOW_INDEX[name]
    built = build("Cu", (1, 1, layers), a=A_EMT, vacuum=8)
    of_atom = relaxed_energy(bulk("Cu", a=A_EMT))
    excess = relaxed_energy(built) - len(built) * of_atom
    expected = excess / (2 * area_A2(built)) / (units.kJ / 1000 / units.m**2)
    assert of_copper[name].value == pytest.approx(expected, abs=0.005)


def test_thicker_slabs_say_the_same(of_copper: dict[str, Quantity]) -> None:
    thick = surfaces(bulk("Cu"), EMT(), thickness_A=18, vacuum_A=16)
    for quantity in thick:
        assert quantity.value == pytest.approx(of_copper[quantity.name].value, abs=0.005)


def test_a_strained_cell_is_relaxed_first(of_copper: dict[str, Quantity]) -> None:
    for quantity in surfaces(bulk("Cu", a=3.75), EMT()):
        assert quantity.value == pytest.approx(of_copper[quantity.name].value, abs=0.01)


def test_polar_orientations_have_no_slab_with_equal_faces() -> None:
    assert cuts(bulk("NaCl", "rocksalt", 5.64)) == {"(100)": 1, "(110)": 1, "(111)": 0}
    assert cuts(bulk("GaAs", "zincblende", 5.65)) == {"(100)": 0, "(110)": 1, "(111)": 0}
    assert cuts(bulk("Si")) == {"(100)": 1, "(110)": 1, "(111)": 2}  # shuffle and glide


def test_their_quantities_say_so() -> None:
    alloy = Atoms("CuAu", scaled_positions=[[0, 0, 0], [0.25, 0.25, 0.25]], cell=bulk("Cu", a=5.7).cell, pbc=True)
    calculator = EMT()
    calculator.implemented_properties = ("energy", "forces")  # the cell stays, so that one step is enough
    found = {quantity.name: quantity for quantity in surfaces(alloy, calculator, steps=1)}
    assert "did not converge" in found["(110)"].note
    assert found["(111)"].value is None
    assert "polar" in found["(111)"].note


@pytest.mark.parametrize("a", [5.64, 5.80])
def test_slabs_are_the_same_whatever_the_lattice_constant(a: float) -> None:
    crystal = conventional(bulk("NaCl", "rocksalt", 5.64))
    first = facets(crystal, max_index=1, thickness_A=11.0, most_terminations=3)[0]
    crystal.set_cell(crystal.cell * a / 5.64, scale_atoms=True)
    cut = slab(crystal, first, first.shifts[0], 12)
    assert cut.symbols.formula.count() == {"Na": 4, "Cl": 4}
    assert np.ptp(cut.positions[:, 2]) == pytest.approx(1.5 * a)
    assert cut.cell[2] == pytest.approx([0, 0, 1.5 * a + 12])
    assert area_A2(cut) == pytest.approx(a**2 / 2)


def test_magnetic_moments_go_along() -> None:
    iron = bulk("Fe", cubic=True)
    iron.set_initial_magnetic_moments([2.2, 2.2])
    iron.info["charge"] = 0
    first = facets(conventional(iron), max_index=1, thickness_A=6, most_terminations=1)[0]
    cut = slab(conventional(iron), first, first.shifts[0], 10)
    assert cut.get_initial_magnetic_moments() == pytest.approx(2.2)
    assert cut.info == {"charge": 0}


def test_without_symmetry_there_are_no_equal_faces() -> None:
    disordered = bulk("Cu", cubic=True)
    disordered.rattle(0.2, seed=1)
    [only] = surfaces(disordered, EMT())
    assert only.value is None
    assert "no symmetry" in only.note


def test_what_is_no_crystal_has_no_surfaces() -> None:
    ice = molecule("H2O")
    ice.set_cell([4, 4, 4])
    ice.pbc = True
    assert is_bulk(ice)
    assert not is_crystal(ice)
    for crystal in (bulk("Cu"), bulk("NaCl", "rocksalt", 5.64), bulk("Si"), bulk("Ar", a=5.3), bulk("Fe")):
        assert is_crystal(crystal)
    assert surfaces(ice, EMT()) == []
    assert surfaces(fcc111("Cu", (1, 1, 4), vacuum=10, periodic=True), EMT()) == []
    assert surfaces(molecule("N2"), EMT()) == []


@pytest.mark.parametrize(
    ("calculator", "reason"),
    [(NaNForces(), "not finite"), (Refusing(), "odd numbers")],
)
def test_calculators_that_fail_cost_the_values_only(calculator: EMT, reason: str) -> None:
    found = surfaces(bulk("Cu"), calculator)
    assert [quantity.name for quantity in found] == ["(100)", "(110)", "(111)"]
    failed = [quantity for quantity in found if quantity.value is None]
    assert all(reason in quantity.note for quantity in failed)
    assert failed or isinstance(calculator, Refusing)
