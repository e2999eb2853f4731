import re
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from dft_interfaces.label import Label, LabelStatus, LevelOfTheory
from dft_interfaces.label_check import checked

LEVEL = LevelOfTheory("pyscf", "pbe/def2-svp", "pbe")
OTHER = LevelOfTheory("pyscf", "pbe0/def2-svp", "pbe0")
WATER = molecule("H2O")
GOOD = Label(
    LabelStatus.CONVERGED,
    LEVEL.fingerprint,
    energy_eV=-2078.6,
    forces_eV_per_A=np.array([[0.0, 0.0, 1.0], [0.0, 0.4, -0.5], [0.0, -0.4, -0.5]]),
    stress_eV_per_A3=np.zeros(6),
    cost_s=1.5,
)


def test_a_sound_label_passes_unchanged():
    assert checked(GOOD, WATER, LEVEL) is GOOD


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"level_of_theory": OTHER.fingerprint}, f"{OTHER.fingerprint}, expected {LEVEL.fingerprint}"),
        ({"energy_eV": None}, "no energy"),
        ({"energy_eV": float("nan")}, "energy nan"),
        ({"energy_eV": float("inf")}, "energy inf"),
        ({"forces_eV_per_A": None}, "no forces"),
        ({"forces_eV_per_A": np.zeros((2, 3))}, r"shape \(2, 3\), expected \(3, 3\) for 3 atoms"),
        ({"forces_eV_per_A": np.zeros(9)}, r"shape \(9,\)"),
        ({"forces_eV_per_A": np.array([[0, 0, 0], [0, np.nan, 0], [0, 0, 0]])}, r"on atoms \[1\]"),
        ({"forces_eV_per_A": np.full((3, 3), 0.1)}, "net force of 0.520"),
        ({"forces_eV_per_A": np.array([[0, 0, 0], [0, 2e5, 0], [0, -2e5, 0]])}, r"force of 2e\+05 eV/Å on atom 1"),
        ({"stress_eV_per_A3": np.zeros((3, 3))}, "Voigt xx yy zz yz xz xy"),
        ({"stress_eV_per_A3": np.full(6, np.nan)}, "stress"),
        ({"magnetic_moments_uB": np.array([1.0, np.nan, 0.0])}, "magnetic moments that are not finite"),
        ({"magnetic_moments_uB": np.ones(2)}, r"magnetic moments of shape \(2,\), expected \(3,\)"),
        ({"forces_eV_per_A": np.zeros((3, 3))}, r"exactly zero, .* on atoms \[0, 1, 2\]"),
    ],
)
def test_an_unusable_label_is_rejected_with_its_reason(change, fragment):
    label = checked(replace(GOOD, message="the engine's lines", **change), WATER, LEVEL)
    assert label.status is LabelStatus.REJECTED
    assert (label.energy_eV, label.forces_eV_per_A, label.stress_eV_per_A3) == (None, None, None)
    assert label.cost_s == GOOD.cost_s
    assert label.message.endswith("the engine's lines")
    assert re.search(fragment, label.message)


def test_grid_noise_in_the_net_force_passes_and_grows_with_the_forces():
    noisy = GOOD.forces_eV_per_A + 0.02
    assert checked(replace(GOOD, forces_eV_per_A=noisy), WATER, LEVEL).status is LabelStatus.CONVERGED
    hot = GOOD.forces_eV_per_A * 100 + 0.3
    assert checked(replace(GOOD, forces_eV_per_A=hot), WATER, LEVEL).status is LabelStatus.CONVERGED


@pytest.mark.parametrize(
    "atoms", [bulk("Si"), bulk("NaCl", "rocksalt", a=5.6, cubic=True), Atoms("Ar2", [[0, 0, 0], [0, 0, 9]]), Atoms("H")]
)
def test_forces_that_symmetry_or_distance_makes_zero_pass(atoms):
    label = replace(GOOD, forces_eV_per_A=np.zeros((len(atoms), 3)))
    assert checked(label, atoms, LEVEL) is label


def test_failures_pass_as_they_are():
    failed = Label(LabelStatus.FAILED, OTHER.fingerprint, message="why")
    assert checked(failed, WATER, LEVEL) is failed
