"""Errors added to real forces are detected and named; correct labels never are."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.stress import full_3x3_to_voigt_6_stress
from tblite.ase import TBLite

from committee.backbones import load_backbone
from committee.checks.compared_forces import ComparedForces, two_atom_axis
from committee.checks.force_check import ENERGY_UNITS, FORCE_UNITS, check_forces
from committee.checks.stress_check import ORDERS, STRESS_UNITS, ComparedStress, check_stress
from committee.settings import SevenNetSettings

FRAMES = 6
CALCULATORS = {"EMT": EMT, "xTB": lambda: TBLite(method="GFN2-xTB", verbosity=0)}
SYSTEMS = {
    "methanol": (molecule("CH3OH"), 0.05, "xTB"),
    "hot methanol": (molecule("CH3OH"), 0.1, "xTB"),
    "benzene": (molecule("C6H6"), 0.05, "xTB"),
    "hot water": (molecule("H2O"), 0.12, "xTB"),
    "oxygen": (molecule("O2"), 0.05, "xTB"),
    "copper": (bulk("Cu", cubic=True), 0.05, "EMT"),
    "molten copper": (bulk("Cu", cubic=True), 0.3, "EMT"),
    "molten aluminium": (bulk("Al", cubic=True), 0.3, "EMT"),
    "CuAu": (bulk("Cu", cubic=True), 0.1, "EMT"),
    "methanol by EMT": (molecule("CH3OH"), 0.05, "EMT"),
    "nickel oxide by EMT": (bulk("NiO", "rocksalt", a=4.18, cubic=True), 0.1, "EMT"),
}
SYSTEMS["CuAu"][0].numbers[:2] = 79


def frames_of(atoms: Atoms, rattle_A: float) -> list[Atoms]:
    frames = []
    for seed in range(FRAMES):
        frame = atoms.copy()
        if frame.pbc.all():
            frame.set_cell(frame.cell * (1 + 0.02 * (seed % 3 - 1)), scale_atoms=True)
        frame.rattle(rattle_A, seed=seed)
        frames.append(frame)
    return frames


@pytest.fixture(scope="module")
def pairs() -> dict[str, tuple[list[ComparedForces], list[ComparedStress]]]:
    """SevenNet-0 as the foundation, labels of another potential, by system."""
    backbone = load_backbone(SevenNetSettings(kind="sevennet", model="7net-0"))
    return {
        name: compared(frames_of(atoms, rattle), backbone, CALCULATORS[calculator])
        for name, (atoms, rattle, calculator) in SYSTEMS.items()
    }


def compared(frames, backbone, calculator):
    forces, stresses = [], []
    for frame in frames:
        evaluation = backbone.evaluate([frame])
        known, stress = (part.detach().double().numpy() for part in evaluation.foundation())
        frame.calc = calculator()
        energies = frame.get_potential_energy(), float(evaluation.energy[0].detach())
        forces.append(ComparedForces(frame.numbers, frame.get_forces(), known, *energies, two_atom_axis(frame)))
        if frame.pbc.all():
            voigt = full_3x3_to_voigt_6_stress(stress[0])
            stresses.append(ComparedStress(frame.get_stress(), voigt, frame.get_volume()))
    return forces, stresses


def exchanged(pairs):
    """The same two potentials with their roles exchanged: the foundation is now the inaccurate one."""
    return [
        ComparedForces(p.atomic_numbers, p.foundation, p.label, p.foundation_energy_eV, p.label_energy_eV, p.axis)
        for p in pairs
    ]


@pytest.mark.parametrize("name", SYSTEMS)
def test_correct_labels_are_not_reported(pairs, name):
    forces, stresses = pairs[name]
    assert check_forces(forces).mismatch == ""
    assert check_forces(exchanged(forces)).mismatch == ""
    assert check_stress(stresses) == ""


def test_correlation_and_slope_of_a_good_and_a_bad_foundation(pairs):
    good, bad = check_forces(pairs["copper"][0]), check_forces(pairs["methanol by EMT"][0])
    assert good.correlation > 0.95
    assert 0.6 < good.slope < 1.6
    assert bad.correlation < 0.75
    assert "2." in bad.sentence("The labels") or "1." in bad.sentence("The labels")


@pytest.mark.parametrize("unit", [name for name, factor in FORCE_UNITS.items() if not 0.2 < factor < 5])
@pytest.mark.parametrize("name", ["methanol", "hot methanol", "benzene", "hot water", "copper", "CuAu"])
def test_a_wrong_unit_is_named(pairs, name, unit):
    wrong = [replace(pair, label=pair.label * FORCE_UNITS[unit]) for pair in pairs[name][0]]
    assert unit in check_forces(wrong).mismatch


@pytest.mark.parametrize("unit", ["eV/bohr", "eV/Å converted as if from eV/bohr"])
@pytest.mark.parametrize("name", ["methanol", "hot methanol"])
def test_a_factor_that_a_foundation_could_have_is_decided_by_the_energies(pairs, name, unit):
    wrong = [replace(pair, label=pair.label * FORCE_UNITS[unit]) for pair in pairs[name][0]]
    assert unit in check_forces(wrong).mismatch
    soft = [replace(pair, label_energy_eV=pair.label_energy_eV * FORCE_UNITS[unit]) for pair in wrong]
    assert check_forces(soft).mismatch == ""
    unknown = [replace(pair, label_energy_eV=np.nan) for pair in wrong]
    assert check_forces(unknown).mismatch == ""


@pytest.mark.parametrize("name", ["methanol", "benzene", "oxygen", "copper", "molten aluminium"])
def test_a_wrong_sign_is_caught(pairs, name):
    wrong = [replace(pair, label=-pair.label) for pair in pairs[name][0]]
    assert "wrong sign" in check_forces(wrong).mismatch
    assert "instead of" not in check_forces(wrong).mismatch


def test_sign_and_unit_together_are_both_named(pairs):
    wrong = [replace(pair, label=-pair.label * FORCE_UNITS["Hartree/bohr"]) for pair in pairs["benzene"][0]]
    assert "wrong sign" in check_forces(wrong).mismatch
    assert "Hartree/bohr" in check_forces(wrong).mismatch


def shuffled(pairs, order):
    return [ComparedForces(p.atomic_numbers[order], p.label[order], p.foundation[order]) for p in pairs]


def test_the_usual_order_is_named(pairs):
    mixed = shuffled(pairs["methanol"][0], np.array([2, 0, 4, 1, 3, 5]))  # H C H O H H
    by_symbol = np.argsort([{6: "C", 1: "H", 8: "O"}[z] for z in mixed[0].atomic_numbers], kind="stable")
    wrong = [replace(pair, label=pair.label[by_symbol]) for pair in mixed]
    assert check_forces(mixed).mismatch == ""
    assert "sorted by element symbol" in check_forces(wrong).mismatch


def test_any_other_order_is_found_from_what_all_frames_share(pairs):
    order = np.random.default_rng(3).permutation(12)
    wrong = [replace(pair, label=pair.label[order]) for pair in pairs["benzene"][0]]
    assert f"row 0 to atom {order[0]}" in check_forces(wrong).mismatch


def test_forces_of_other_structures_are_no_order(pairs):
    labels = [pair.label for pair in pairs["benzene"][0]]
    others = labels[1:] + labels[:1]
    wrong = [replace(pair, label=label) for pair, label in zip(pairs["benzene"][0], others, strict=True)]
    found = check_forces(wrong)
    assert found.mismatch == ""
    assert found.correlation < 0.5
    assert "directions disagree" in found.sentence("The labels")


def test_an_order_that_differs_from_frame_to_frame_is_noticed(pairs):
    rng = np.random.default_rng(0)
    for name in ("benzene", "methanol", "copper"):
        wrong = [replace(pair, label=rng.permutation(pair.label)) for pair in pairs[name][0]]
        assert "their order differs from frame to frame" in check_forces(wrong).mismatch
        noise = [replace(pair, label=rng.normal(size=pair.label.shape)) for pair in pairs[name][0]]
        assert check_forces(noise).mismatch == ""


def test_an_order_that_spoils_only_some_compositions_is_not_hidden_by_the_others(pairs):
    mixed = shuffled(pairs["methanol"][0], np.array([2, 0, 4, 1, 3, 5]))
    by_symbol = np.argsort([{6: "C", 1: "H", 8: "O"}[z] for z in mixed[0].atomic_numbers], kind="stable")
    wrong = [replace(pair, label=pair.label[by_symbol]) for pair in mixed]
    found = check_forces([*wrong, *pairs["copper"][0], *pairs["benzene"][0]])
    assert found.correlation > 0.5
    assert found.mismatch.startswith("in CH4O, the forces belong to other atoms: they are sorted by element symbol")


def bonds(at_A: float, stiffness: float, lengths_A: np.ndarray) -> np.ndarray:
    """Forces (f, 2, 3) of a Morse-like bond along x."""
    stretch = lengths_A - at_A
    pull = stiffness * (stretch - 2 * stretch**2)
    return pull[:, None, None] * np.array([[1.0, 0, 0], [-1.0, 0, 0]])


def test_bonds_of_another_length_are_honest_and_a_sign_is_still_caught():
    lengths = 1.21 + np.random.default_rng(1).uniform(-0.005, 0.045, 12)  # between the two, most of them
    forces = zip(bonds(1.25, 70, lengths), bonds(1.21, 90, lengths), strict=True)
    axis = np.array([1.2, 0, 0])
    frames = [ComparedForces(np.array([8, 8]), label, known, axis=axis) for label, known in forces]
    found = check_forces(frames)
    assert found.mismatch == ""
    assert found.correlation > 0.95
    wrong = check_forces([replace(frame, label=-frame.label) for frame in frames])
    assert "wrong sign: they are energy gradients, or the two atoms are exchanged" in wrong.mismatch
    turned_axes = check_forces([replace(frame, label=frame.label[:, [1, 2, 0]]) for frame in frames])
    assert turned_axes.mismatch == ""
    assert turned_axes.correlation == pytest.approx(0)
    assert check_forces(frames[:3]).frames == 0


def test_forces_that_are_zero_are_named(pairs):
    nothing = [replace(pair, label=0 * pair.label) for pair in pairs["copper"][0]]
    assert check_forces(nothing).mismatch == "the forces are zero where the foundation's are not"


@pytest.mark.parametrize("unit", ENERGY_UNITS)
@pytest.mark.parametrize("name", ["methanol", "hot methanol"])
def test_a_unit_of_energies_is_named_where_energies_and_forces_vary_alike(pairs, name, unit):
    wrong = [replace(pair, label_energy_eV=pair.label_energy_eV * ENERGY_UNITS[unit]) for pair in pairs[name][0]]
    found = check_forces(wrong).mismatch
    assert found.startswith("the energies are in ")
    assert unit in found
    assert check_forces(wrong[:3]).mismatch == ""


def test_the_only_frames_of_their_compositions_say_nothing_of_energies(pairs):
    lone = [pairs[name][0][0] for name in ("benzene", "copper", "CuAu", "hot water")]
    assert check_forces([*lone, *pairs["methanol"][0][:2]]).mismatch == ""


def test_few_bad_labels_decide_nothing(pairs):
    frames = pairs["copper"][0]
    first, second, *rest = frames
    spoilt = [replace(first, label=-50 * first.label), replace(second, label=0 * second.label), *rest]
    assert check_forces(spoilt).mismatch == ""
    assert check_forces(frames[:3]).mismatch == ""
    assert check_forces([replace(pair, foundation=0 * pair.foundation) for pair in frames]).frames == 0


@pytest.mark.parametrize("unit", STRESS_UNITS)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_stress_unit_and_sign_are_caught(pairs, unit, sign):
    wrong = [replace(pair, label=sign * STRESS_UNITS[unit] * pair.label) for pair in pairs["copper"][1]]
    assert unit in check_stress(wrong)
    assert ("wrong sign" in check_stress(wrong)) == (sign < 0)


def test_a_virial_and_a_bare_wrong_sign_are_caught(pairs):
    frames = pairs["copper"][1]
    assert "virial" in check_stress([replace(p, label=-p.volume_A3 * p.label) for p in frames])
    assert check_stress([replace(p, label=-p.label) for p in frames]).startswith("the stress has the wrong sign")


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_of_components_is_named(pairs, order):
    wrong = []
    for pair in pairs["copper"][1]:
        label = np.empty(6)
        label[list(ORDERS[order])] = pair.label
        wrong.append(replace(pair, label=label))
    assert order in check_stress(wrong)


def test_a_factor_of_no_known_unit_is_noticed(pairs):
    scaled = [replace(pair, label=1e5 * STRESS_UNITS["kbar"] * pair.label) for pair in pairs["copper"][1]]
    assert "e+08 times that of the foundation, expected in eV/Å³" in check_stress(scaled)
    assert check_stress([replace(pair, label=3 * pair.label) for pair in pairs["copper"][1]]) == ""


def test_stress_that_is_zero_is_noticed_where_it_should_vary(pairs):
    nothing = [replace(pair, label=0 * pair.label) for pair in pairs["copper"][1]]
    assert "the same in every frame" in check_stress(nothing)
    assert check_stress([replace(pair, foundation=0 * pair.foundation) for pair in nothing]) == ""


def test_one_frame_far_out_and_systems_of_one_frame_decide_nothing(pairs):
    first, *rest = pairs["copper"][1]
    hole = replace(first, label=-1000 * first.label, foundation=1000 * first.foundation)
    assert check_stress([hole, *rest]) == ""
    lone = [replace(pair, system=f"alone {i}") for i, pair in enumerate(pairs["CuAu"][1] * 2)]
    wrong = [replace(pair, label=-pair.label) for pair in [*pairs["copper"][1], *lone]]
    assert "wrong sign" in check_stress(wrong)


def test_an_even_pressure_is_honest(pairs):
    pressure = np.array([1, 1, 1, 0, 0, 0]) * 0.2
    squeezed = [replace(pair, label=pair.label - pressure, system="squeezed") for pair in pairs["copper"][1]]
    assert check_stress(squeezed) == ""
    assert check_stress([*squeezed, *(replace(p, label=p.label + pressure) for p in pairs["copper"][1])]) == ""
