"""Vacancies and substitutions: EMT against an independent calculation, what must cancel, and calculators that fail."""

import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.optimize import BFGS
from unsound_calculators import NaNForces, Refusing, Sticky

from al_loop.tools.validation.bulk import equilibrium, inequivalent_sites, repeats
from al_loop.tools.validation.defects import SUBSTITUTIONS, VACANCIES, defects
from al_loop.tools.validation.element_references import reference_structure
from al_loop.tools.validation.quantity import Quantity


def by_name(found: list[Quantity]) -> dict[str, Quantity]:
    names = {quantity.name: quantity for quantity in found}
    assert len(names) == len(found)
    return names


def gold_copper() -> Atoms:
    corners = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Atoms("AuCu3", scaled_positions=corners, cell=[3.75] * 3, pbc=True)


@pytest.fixture(scope="module")
def of_gold_copper() -> dict[str, Quantity]:
    return by_name(defects(gold_copper(), EMT(), least_size_A=7))


def independent_vacancy_energy() -> float:
    crystal = bulk("Cu", a=3.5896, cubic=True).repeat(3)  # EMT's own lattice constant
    crystal.calc = EMT()
    of_atom = crystal.get_potential_energy() / len(crystal)
    del crystal[17]
    BFGS(crystal, logfile=None).run(fmax=0.01)
    return crystal.get_potential_energy() - len(crystal) * of_atom


def test_the_vacancy_of_copper() -> None:
    [vacancy] = defects(bulk("Cu", cubic=True), EMT())
    assert vacancy.name == "vacancy of Cu"
    assert (vacancy.unit, vacancy.order_group) == ("eV", VACANCIES)
    assert vacancy.value == pytest.approx(independent_vacancy_energy(), abs=0.003)
    assert 1.1 < vacancy.value < 1.4  # experiment: 1.28 eV


def test_it_does_not_depend_on_the_cell_that_is_given() -> None:
    strained, doubled = bulk("Cu", a=3.7, cubic=True), bulk("Cu", cubic=True).repeat((2, 1, 1))
    values = [defects(atoms, EMT(), least_size_A=7)[0].value for atoms in (strained, doubled)]
    assert values[0] == pytest.approx(values[1], abs=0.002)  # 32 atoms each


def test_a_pair_potential_costs_the_bonds_of_the_atom() -> None:
    """Under any pair potential an unrelaxed vacancy costs the cohesive energy; Lennard-Jones relaxes by about 1 %."""
    argon = LennardJones(sigma=3.4, epsilon=0.0104, rc=8.5)
    [vacancy] = defects(bulk("Ar", a=5.3, cubic=True), argon, force_tolerance_eV_per_A=1e-3)
    crystal = equilibrium(bulk("Ar", a=5.3, cubic=True), argon, steps=100)
    assert vacancy.value == pytest.approx(-crystal.energy_eV_per_atom, rel=0.02)
    assert vacancy.value < -crystal.energy_eV_per_atom


def test_foreign_elements() -> None:
    found = by_name(defects(bulk("Cu", cubic=True), EMT(), others=["Au"], least_size_A=7))
    assert set(found) == {"vacancy of Cu", "Au on Cu"}
    assert found["Au on Cu"].order_group == SUBSTITUTIONS
    gold = bulk("Au", a=4.0563, cubic=True)
    gold.calc = EMT()
    copper = bulk("Cu", a=3.5896, cubic=True).repeat(2)
    copper.calc = EMT()
    pure = copper.get_potential_energy()
    copper.symbols[0] = "Au"
    BFGS(copper, logfile=None).run(fmax=0.01)
    expected = copper.get_potential_energy() - pure + pure / len(copper) - gold.get_potential_energy() / 4
    assert found["Au on Cu"].value == pytest.approx(expected, abs=0.005)
    assert "Au crystal" in found["Au on Cu"].note


def test_in_a_compound_the_references_cancel(of_gold_copper: dict[str, Quantity]) -> None:
    found = of_gold_copper
    vacancies = found["vacancy of Au"].value + 3 * found["vacancy of Cu"].value
    crystal = gold_copper()
    references = {}
    for element in ("Au", "Cu"):
        pure = bulk(element, a={"Au": 4.0563, "Cu": 3.5896}[element])
        pure.calc = EMT()
        references[element] = pure.get_potential_energy()
    crystal.set_cell([3.72] * 3, scale_atoms=True)  # close to the minimum
    crystal.calc = EMT()
    formation = crystal.get_potential_energy() - references["Au"] - 3 * references["Cu"]
    assert found["vacancies of one AuCu3"].value == pytest.approx(vacancies + formation, abs=0.02)
    exchange = found["Au on Cu"].value + found["Cu on Au"].value
    assert found["exchange of Au and Cu"].value == pytest.approx(exchange, abs=1e-6)


def test_inequivalent_sites() -> None:
    sites, cut_short = inequivalent_sites(gold_copper(), 4)
    assert [(site.index, site.name) for site in sites] == [(0, "Au"), (1, "Cu")]
    assert cut_short == []
    moved = gold_copper()
    moved.positions[2, 1] += 0.1  # along its own axis of symmetry
    assert [site.name for site in inequivalent_sites(moved, 4)[0]] == ["Au", "Cu site 1", "Cu site 2"]
    assert inequivalent_sites(moved, 1)[1] == ["Cu"]
    iron = bulk("Fe", cubic=True)
    iron.set_initial_magnetic_moments([2.0, -2.0])
    assert len(inequivalent_sites(iron, 4)[0]) == 2


def test_supercells_are_as_large_as_asked() -> None:
    assert repeats(bulk("Cu", cubic=True), 10) == (3, 3, 3)
    assert repeats(bulk("Cu"), 10) == (5, 5, 5)
    assert repeats(fcc111("Cu", (1, 1, 3), vacuum=5), 5)[2] == 1


def test_what_is_no_crystal_has_no_defects() -> None:
    assert defects(fcc111("Cu", (2, 2, 4), vacuum=10, periodic=True), EMT()) == []
    assert defects(molecule("N2"), EMT()) == []


def test_forces_that_are_no_numbers_cost_the_values_only(of_gold_copper: dict[str, Quantity]) -> None:
    found = by_name(defects(gold_copper(), NaNForces(), least_size_A=7))
    assert set(found) == set(of_gold_copper)
    assert {quantity.value for quantity in found.values()} == {None}
    assert all("not finite" in quantity.note for quantity in found.values())


def test_one_failure_leaves_the_others() -> None:
    found = by_name(defects(bulk("Cu", cubic=True), Refusing(), others=["Ag", "B"], least_size_A=7))
    assert found["vacancy of Cu"].value is None
    assert "RuntimeError: odd numbers are not supported" in found["vacancy of Cu"].note
    assert "and so on" not in found["vacancy of Cu"].note
    assert found["Ag on Cu"].value is None  # its own crystal has one atom
    assert "Ag crystal" in found["Ag on Cu"].note
    assert found["B on Cu"].value is None
    assert "EMT" in found["B on Cu"].note or "B" in found["B on Cu"].note


def test_a_collapse_is_no_minimum() -> None:
    sticky = Sticky(30.0)
    sticky.implemented_properties = ("energy", "forces")  # the perfect crystal stands, the vacancy falls into itself
    found = defects(bulk("Cu"), sticky, least_size_A=4)
    assert found[0].value is None
    assert "relaxation failed: not computable: close contact" in found[0].note


def test_a_relaxation_that_does_not_converge_has_no_value() -> None:
    [vacancy] = defects(bulk("Cu", a=3.5896, cubic=True), EMT(), least_size_A=7, steps=1)
    assert vacancy.value is None
    assert "did not converge in 1 steps" in vacancy.note


def test_without_stress_the_cell_stays_and_the_note_says_so() -> None:
    calculator = EMT()
    calculator.implemented_properties = ("energy", "forces")
    [vacancy] = defects(bulk("Cu", a=3.5896, cubic=True), calculator, least_size_A=7)
    assert vacancy.value is not None
    assert "no stress" in vacancy.note


def test_the_structure_is_left_alone() -> None:
    given = bulk("Cu", cubic=True)
    before = given.copy()
    defects(given, EMT(), least_size_A=7)
    assert given == before
    assert given.calc is None


def test_references() -> None:
    oxygen = reference_structure("O")
    assert oxygen is not None
    assert oxygen.get_initial_magnetic_moments().sum() == 2
    assert oxygen.pbc.all()
    assert reference_structure("B") is None
    iron = reference_structure("Fe")
    assert iron is not None
    assert len(iron) == 1
