"""Dimer curves: a Morse potential against its own parameters, EMT, and calculators that fail at some distances."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.morse import MorsePotential
from ase.data import covalent_radii
from unsound_calculators import NaNForces, Refusing, Sticky

from al_loop.stages.promote.dimer_repulsion import FRACTIONS
from al_loop.tools.validation.dimers import GRID, dimer_curves
from al_loop.tools.validation.quantity import Quantity

SHORT, RADII = "Cu-Cu repels at short range", 2 * covalent_radii[29]


class Recording(Calculator):
    """A well of 2 eV at 2.5 Å; keeps what it calculates, refuses what is closer than ``least``."""

    implemented_properties = ("energy", "forces")

    def __init__(self, least: float = 0.0) -> None:
        super().__init__()
        self.calculated: list[Atoms] = []
        self.least = least

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, list(properties), system_changes)
        self.calculated.append(atoms.copy())
        distance = atoms.get_distance(0, 1)
        if distance < self.least:
            raise ValueError("too close for me")
        bond = np.exp(-2 * (distance - 2.5))
        force = -4 * 2 * (bond - bond**2)
        self.results = {"energy": 2 * (1 - bond) ** 2, "forces": np.array([[0, 0, -force], [0, 0, force]])}


def by_name(found: list[Quantity]) -> dict[str, Quantity]:
    return {quantity.name: quantity for quantity in found}


def test_a_morse_curve_says_its_own_parameters() -> None:
    found = by_name(dimer_curves(bulk("Cu"), MorsePotential(epsilon=0.8, r0=2.3, rho0=6, rcut1=9, rcut2=10)))
    assert found["Cu-Cu distance"].value == pytest.approx(2.3, abs=1e-3)
    assert found["Cu-Cu well depth"].value == pytest.approx(0.8, abs=2e-3)
    assert found[SHORT].value == 1.0
    assert (found["Cu-Cu distance"].unit, found["Cu-Cu well depth"].unit, found[SHORT].unit) == ("Å", "eV", "")


def test_lennard_jones() -> None:
    found = by_name(dimer_curves(Atoms("Ar"), LennardJones(sigma=3.4, epsilon=0.0104, rc=30)))
    assert found["Ar-Ar distance"].value == pytest.approx(3.4 * 2 ** (1 / 6), abs=1e-3)
    far = 3 * 2 * covalent_radii[18]
    left = 4 * 0.0104 * ((3.4 / far) ** 12 - (3.4 / far) ** 6)
    assert found["Ar-Ar well depth"].value == pytest.approx(0.0104 + left, rel=1e-2)


def test_every_pair_of_elements_once() -> None:
    found = by_name(dimer_curves(molecule("CO"), EMT()))
    assert set(found) == {
        f"{pair} {what}"
        for pair in ("C-C", "C-O", "O-O")
        for what in ("distance", "well depth", "repels at short range")
    }
    assert found["O-O distance"].value == pytest.approx(1.10, abs=0.02)  # EMT's own


def test_of_a_crystal_the_pair_stands_in_a_box_that_an_engine_for_crystals_can_take() -> None:
    calculator = Recording()
    dimer_curves(bulk("Cu"), calculator)
    assert len(calculator.calculated) == len(GRID)
    assert {atoms.pbc.all() for atoms in calculator.calculated} == {True}
    assert len({tuple(atoms.cell.lengths()) for atoms in calculator.calculated}) == 1
    farthest = calculator.calculated[-1]
    assert farthest.get_distance(0, 1) == pytest.approx(3 * RADII)
    assert farthest.cell.lengths()[2] - farthest.get_distance(0, 1) == pytest.approx(10)
    alone = Recording()
    dimer_curves(Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2]], info={"charge": 0, "spin": 1}), alone)
    assert not alone.calculated[0].pbc.any()
    assert alone.calculated[0].info == {"charge": 0, "spin": 1}


def test_a_pair_that_attracts_at_every_distance() -> None:
    found = by_name(dimer_curves(bulk("Cu"), Sticky()))
    assert found[SHORT].value == 0.0
    assert "-" in found[SHORT].note
    assert found["Cu-Cu distance"].value is None
    assert "the closest is the lowest" in found["Cu-Cu distance"].note
    assert found["Cu-Cu well depth"].value is None


def test_a_pair_that_repels_at_every_distance() -> None:
    found = by_name(dimer_curves(bulk("Cu"), LennardJones(sigma=12.0, epsilon=0.1, rc=50)))
    assert found[SHORT].value == 1.0
    assert "the farthest is the lowest" in found["Cu-Cu distance"].note


def test_what_fails_close_up_leaves_the_well() -> None:
    found = by_name(dimer_curves(bulk("Cu"), Recording(least=0.55 * RADII)))
    assert found["Cu-Cu distance"].value == pytest.approx(2.5, abs=1e-3)
    assert "none at 1.32 Å" in found["Cu-Cu distance"].note
    assert found[SHORT].value is None
    assert "too close for me" in found[SHORT].note


@pytest.mark.parametrize(("calculator", "reason"), [(NaNForces(), "not finite"), (Recording(99), "too close for me")])
def test_calculators_that_fail_everywhere(calculator: Calculator, reason: str) -> None:
    found = dimer_curves(bulk("Cu"), calculator)
    assert [quantity.value for quantity in found] == [None] * 3
    assert all(reason in quantity.note for quantity in found)


def test_one_pair_that_fails_leaves_the_others() -> None:
    class OnlyCopper(EMT):
        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            if set(atoms.symbols) == {"Au"}:
                raise RuntimeError("no gold")
            super().calculate(atoms, list(properties), system_changes)

    found = by_name(dimer_curves(bulk("CuAu", "rocksalt", 5.5), OnlyCopper()))
    assert found["Au-Au distance"].value is None
    assert found["Cu-Cu distance"].value == pytest.approx(2.17, abs=0.02)
    assert found["Cu-Au distance"].value is not None
    assert len(dimer_curves(bulk("Cu"), Refusing())) == 3


def test_the_short_distances_are_those_of_the_promotion() -> None:
    assert GRID[: len(FRACTIONS)] == FRACTIONS
    assert list(GRID) == sorted(GRID)
