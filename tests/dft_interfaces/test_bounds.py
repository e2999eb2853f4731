"""Numbers beyond the bounds are refused with a reason; the extremes of real systems pass."""

import re
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.units import GPa

from dft_interfaces.bounds import charge_excess, label_excess, largest_energy_eV, structure_excess
from dft_interfaces.label import Failure, Label, LabelStatus, LevelOfTheory
from dft_interfaces.label_check import checked
from dft_interfaces.structure import CannotCalculateError, charge_and_multiplicity, require_computable

LEVEL = LevelOfTheory("gpaw", "PBE/600 eV", "PBE")
SALT = bulk("NaCl", "rocksalt", a=5.64)
GOOD = Label(
    LabelStatus.CONVERGED, LEVEL.fingerprint, -3.4, np.array([[0, 0, 1.0], [0, 0, -1.0]]), np.full(6, 0.01), cost_s=1.0
)


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"energy_eV": 1e6}, r"total energy of 1e\+06 eV, expected at most .* for ClNa"),
        ({"energy_eV": -1e300}, "total energy"),
        ({"forces_eV_per_A": np.array([[0, 0, 2e4], [0, 0, -2e4]])}, r"force of 2e\+04 eV/Å on atom 0"),
        ({"forces_eV_per_A": np.full((2, 3), 1.7e308)}, "force of inf"),
        ({"stress_eV_per_A3": np.array([0, 0, 0, 0, -1e6, 0])}, r"stress of 1e\+06 eV/Å³, expected at most 62"),
        ({"stress_eV_per_A3": np.full(6, 63.0)}, "10 TPa"),
        ({"magnetic_moments_uB": np.array([0.0, -1e5])}, r"magnetic moment of 1e\+05 µB"),
    ],
)
def test_a_number_that_no_system_has_makes_no_label(change, fragment):
    label = checked(replace(GOOD, **change), SALT, LEVEL)
    assert (label.status, label.failure, label.stress_eV_per_A3) == (LabelStatus.REJECTED, Failure.OUTLIER, None)
    assert re.search(fragment, label.message)


@pytest.mark.parametrize(
    "change",
    [
        {"energy_eV": -largest_energy_eV(SALT.numbers) / 2.1},  # all electrons of the free atoms
        {"forces_eV_per_A": np.array([[0, 0, 3e3], [0, 0, -3e3]])},  # close contact
        {"stress_eV_per_A3": np.full(6, -5000 * GPa)},
        {"magnetic_moments_uB": np.array([9.0, -9.0])},
    ],
)
def test_the_extreme_that_some_system_has_passes(change):
    label = replace(GOOD, **change)
    assert checked(label, SALT, LEVEL) is label


def test_no_atom_energy_exceeds_its_bound_and_missing_numbers_are_within():
    hartree_eV = 27.2114
    relativistic_hartree = {1: 0.5, 6: 37.8, 26: 1271.0, 79: 19_040.0, 92: 28_070.0, 118: 54_820.0}  # Dirac-Fock
    for number, energy in relativistic_hartree.items():
        assert energy * hartree_eV < largest_energy_eV(np.array([number])) < 4 * energy * hartree_eV + 1.1e4
    assert label_excess(SALT, float("nan"), np.full((2, 3), np.nan), np.full(6, np.nan), None) == ""


def charged(charge):
    atoms = molecule("H2O")
    atoms.info["charge"] = charge
    return atoms


def with_moments(moment):
    atoms = molecule("H2O")
    atoms.set_initial_magnetic_moments([moment, 0, 0])
    return atoms


@pytest.mark.parametrize(
    ("atoms", "fragment"),
    [
        (Atoms("H2", [[0, 0, 0], [0, 0, 1e6]]), r"length of 1e\+06 Å"),
        (Atoms("H", cell=[1e300, 10, 10], pbc=True), r"length of 1e\+300 Å"),
        (bulk("Cu", a=0.8), r"cell of 0.13 Å³ per atom"),
        (charged(-11), r"charge -11, which leaves 21 electrons to 10 protons; expected a charge from -10 to \+9"),
        (charged(-(10**9)), "charge -1e"),
        (charged(10**400), "charge -?.?inf"),
        (charged(10), r"leaves 0 electrons"),
        (with_moments(-1e3), "initial magnetic moment of 1e"),
    ],
)
def test_a_structure_beyond_the_bounds(atoms, fragment):
    assert re.search(fragment, structure_excess(atoms))
    with pytest.raises(CannotCalculateError, match=fragment):
        require_computable(atoms)


@pytest.mark.parametrize(
    "atoms", [charged(-2), charged(9), bulk("Cu", a=2.5), Atoms("H", cell=[200.0] * 3, pbc=True), with_moments(5.0)]
)
def test_a_structure_within_the_bounds(atoms):
    assert structure_excess(atoms) == ""
    require_computable(atoms)


def test_a_hydride_may_have_its_electron_and_text_is_not_checked():
    assert charge_and_multiplicity(Atoms("H", info={"charge": -1})) == (-1, 1)
    assert charge_excess(10, "two") == ""
