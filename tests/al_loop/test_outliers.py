"""Outliers among labels that EMT really made, judged by SevenNet-0: generous, yet no other system's energy passes."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import GPa

from al_loop.config import OutlierSettings
from al_loop.records import LabelledFrame, Role
from al_loop.stages.train.compared_labels import compared_with
from al_loop.stages.train.outliers import (
    MIN_LABELS,
    energy_deviations,
    outliers_among,
    robust_residuals,
    stress_outliers,
)
from committee import CommitteePotential, SevenNetSettings, load_backbone
from committee.checks.compared_labels import ComparedLabel
from dft_interfaces.label import Label, LabelStatus

SETTINGS = OutlierSettings()


@pytest.fixture(scope="module")
def foundation():
    return CommitteePotential.untrained(load_backbone(SevenNetSettings(kind="sevennet")))


def structure(number):
    """Copper, gold and their alloy, from calm to violent."""
    atoms = bulk(("Cu", "Au", "Cu")[number % 3], a=(3.6, 4.1, 3.8)[number % 3], cubic=True)
    if number % 3 == 2:
        atoms.symbols[:2] = "Au"
    atoms.rattle(0.05 + 0.02 * number, seed=number)
    return atoms


def frame(number, energy_error_eV=0.0, force_factor=1.0):
    atoms = structure(number)
    calculator = EMT()
    calculator.calculate(atoms)
    forces = force_factor * calculator.results["forces"]
    label = Label(LabelStatus.CONVERGED, "level", calculator.results["energy"] + energy_error_eV, forces)
    return LabelledFrame(f"frame{number}", atoms, Role.EXPLORE, "metal", "metal/0", label=label)


def test_sound_labels_pass_however_hot_and_whatever_the_code_counts_from(foundation):
    frames = [frame(number, -900.0 * sum(structure(number).numbers == 29)) for number in range(15)]
    assert outliers_among(compared_with(foundation, frames), SETTINGS) == {}


@pytest.mark.parametrize("error_eV", [-250.0, 12.0])
def test_the_energy_of_another_system_is_found(foundation, error_eV):
    wrong = (3, 4, 5)
    frames = [frame(number, error_eV if number in wrong else 0.0) for number in range(15)]
    found = outliers_among(compared_with(foundation, frames), SETTINGS)
    assert set(found) == set(wrong)
    assert "the energy is" in found[3]


def test_forces_of_another_kind_are_found(foundation):
    found = outliers_among(
        compared_with(foundation, [frame(n, force_factor=1000 if n == 7 else 1) for n in range(15)]), SETTINGS
    )
    assert set(found) == {7}
    assert "forces differ from the model's" in found[7]


@pytest.fixture(scope="module")
def crystals(foundation):
    """Twenty labels of EMT with their stress, from strained and violent crystals, beside SevenNet-0."""
    found = []
    for number in range(20):
        atoms = structure(number)
        atoms.set_cell(atoms.cell * (1 + 0.04 * (number % 5 - 2)), scale_atoms=True)
        labelled, (model,) = EMT(), foundation.predict([atoms], "energy")
        labelled.calculate(atoms)
        label = (labelled.results[key] for key in ("energy", "forces", "stress"))
        found.append(ComparedLabel(atoms, *label, model.energy, model.forces, model.stress))
    return found


def test_honest_stress_passes_however_strained(crystals):
    assert outliers_among(crystals, SETTINGS) == {}
    pulay = [replace(one, stress_eV_per_A3=one.stress_eV_per_A3 - 0.03) for one in crystals]  # 5 GPa of a low cutoff
    assert outliers_among(pulay, SETTINGS) == {}


@pytest.mark.parametrize("factor", [1 / GPa, -1 / GPa, 10 / GPa], ids=["GPa", "GPa, other sign", "kbar"])
def test_a_stress_in_another_unit_is_found_among_others(crystals, factor):
    for wrong in range(len(crystals)):
        labels = list(crystals)
        labels[wrong] = replace(labels[wrong], stress_eV_per_A3=labels[wrong].stress_eV_per_A3 * factor)
        found = outliers_among(labels, SETTINGS)
        assert set(found) == {wrong}
        assert "the stress is" in found[wrong]


def test_stress_is_judged_where_there_are_enough(crystals):
    spoilt = replace(crystals[0], stress_eV_per_A3=np.full(6, 50.0))
    bare = [replace(one, stress_eV_per_A3=None) for one in crystals[1:15]]
    few, enough = crystals[15 : 14 + MIN_LABELS - 1], crystals[15:20]
    assert stress_outliers([spoilt, *bare, *few], SETTINGS) == {}
    assert set(stress_outliers([spoilt, *bare, *enough], SETTINGS)) == {0}
    silent = [replace(one, model_stress_eV_per_A3=None) for one in crystals]
    assert stress_outliers([spoilt, *silent], SETTINGS) == {}


LACKING = {
    "energy": {"energy_eV": float("nan")},
    "forces": {"forces_eV_per_A": np.full((4, 3), np.nan)},
    "energy and stress": {"energy_eV": float("nan"), "stress_eV_per_A3": None},
    "forces and stress": {"forces_eV_per_A": np.full((4, 3), np.nan), "stress_eV_per_A3": None},
}


@pytest.mark.parametrize("lacking", LACKING)
def test_each_part_of_a_label_is_judged_where_others_lack(crystals, lacking):
    labels = [replace(one, **LACKING[lacking]) for one in crystals]
    assert outliers_among(labels, SETTINGS) == {}
    for part, words in (
        ("energy_eV", "the energy is"),
        ("forces_eV_per_A", "forces differ from"),
        ("stress_eV_per_A3", "the stress is"),
    ):
        if part in LACKING[lacking]:
            continue
        spoilt = replace(labels[7], **{part: getattr(labels[7], part) * 1000 + (500 if part == "energy_eV" else 0)})
        found = outliers_among([*labels[:7], spoilt, *labels[8:]], SETTINGS)
        assert set(found) == {7}
        assert words in found[7]


def test_parts_of_labels_are_judged_among_whole_ones(crystals):
    labels = list(crystals)
    labels[2] = replace(labels[2], energy_eV=float("nan"), forces_eV_per_A=np.full((len(labels[2].atoms), 3), 400.0))
    labels[3] = replace(labels[3], forces_eV_per_A=np.full((4, 3), np.nan), energy_eV=labels[3].energy_eV + 500)
    labels[4] = replace(labels[4], forces_eV_per_A=np.full((4, 3), np.nan))
    assert set(outliers_among(labels, SETTINGS)) == {2, 3}


def test_few_labels_are_not_judged(foundation):
    frames = [frame(number, 1e4 if number == 0 else 0.0) for number in range(MIN_LABELS - 1)]
    assert outliers_among(compared_with(foundation, frames), SETTINGS) == {}


def test_shifts_are_not_drawn_by_outliers():
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 6, size=(40, 3)).astype(float)
    noise = rng.normal(scale=0.01, size=40)
    differences = counts @ [-13.6, -1036.0, -2041.0] + noise
    differences[[3, 17, 21, 30]] += 1e5
    residuals = robust_residuals(counts, differences)
    assert np.delete(residuals - noise, [3, 17, 21, 30]) == pytest.approx(0, abs=0.02)
    assert residuals[[3, 17, 21, 30]] == pytest.approx(1e5, rel=1e-3)


@pytest.mark.parametrize(("constant_eV", "wrong", "found"), [(465.0, [], []), (465.0, [3], [3]), (0.0, [3], [3])])
def test_a_constant_of_all_frames_makes_no_outliers(constant_eV, wrong, found):
    """Otherwise honest frames of some compositions would go, and what is left would look aligned."""
    once = [[4, 1, 1], [2, 0, 1], [4, 1, 0], [0, 1, 2], [6, 2, 0], [2, 0, 2]]  # methanol, water, methane, ...
    counts = np.array(once * 3, dtype=float)
    differences = constant_eV + counts @ [1.0, 2.0, 3.0] + np.random.default_rng(0).normal(scale=0.01, size=18)
    differences[wrong] += 5000.0
    errors, allowed = energy_deviations(counts, differences, np.zeros(18), SETTINGS)
    assert np.flatnonzero(np.abs(errors) > allowed).tolist() == found
