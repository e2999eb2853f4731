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
from committee.checks.compared_labels import ComparedLabel
from committee.checks.force_check import ENERGY_UNITS, FORCE_UNITS, check_forces
from committee.checks.stress_check import ORDERS, STRESS_UNITS, check_stress
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
def labels() -> dict[str, list[ComparedLabel]]:
    """SevenNet-0 as the foundation, labels of another potential, by system."""
    backbone = load_backbone(SevenNetSettings(kind="sevennet", model="7net-0"))
    return {
        name: compared(frames_of(atoms, rattle), backbone, CALCULATORS[calculator])
        for name, (atoms, rattle, calculator) in SYSTEMS.items()
    }


def compared(frames, backbone, calculator):
    found = []
    for frame in frames:
        evaluation = backbone.evaluate([frame])
        forces, stress = (part.detach().double().numpy() for part in evaluation.foundation())
        model = float(evaluation.energy[0].detach()), forces, full_3x3_to_voigt_6_stress(stress[0])
        frame.calc = calculator()
        own_stress = frame.get_stress() if frame.pbc.all() else None
        found.append(ComparedLabel(frame, frame.get_potential_energy(), frame.get_forces(), own_stress, *model))
    return found


def exchanged(labels):
    """The same two potentials with their roles exchanged: the foundation is now the inaccurate one."""
    return [
        replace(
            one,
            energy_eV=one.model_energy_eV,
            forces_eV_per_A=one.model_forces_eV_per_A,
            model_energy_eV=one.energy_eV,
            model_forces_eV_per_A=one.forces_eV_per_A,
        )
        for one in labels
    ]


def with_forces(labels, change):
    return [replace(one, forces_eV_per_A=change(one.forces_eV_per_A)) for one in labels]


def with_stress(labels, change):
    return [replace(one, stress_eV_per_A3=change(one.stress_eV_per_A3)) for one in labels]


def with_energies(labels, factor):
    return [replace(one, energy_eV=factor * one.energy_eV) for one in labels]


@pytest.mark.parametrize("name", SYSTEMS)
def test_correct_labels_are_not_reported(labels, name):
    assert check_forces(labels[name]).mismatch == ""
    assert check_forces(exchanged(labels[name])).mismatch == ""
    assert check_stress(labels[name]) == ""


def test_correlation_and_slope_of_a_good_and_a_bad_foundation(labels):
    good, bad = check_forces(labels["copper"]), check_forces(labels["methanol by EMT"])
    assert good.correlation > 0.95
    assert 0.6 < good.slope < 1.6
    assert bad.correlation < 0.75
    assert "2." in bad.sentence("The labels") or "1." in bad.sentence("The labels")


@pytest.mark.parametrize("unit", [name for name, factor in FORCE_UNITS.items() if not 0.2 < factor < 5])
@pytest.mark.parametrize("name", ["methanol", "hot methanol", "benzene", "hot water", "copper", "CuAu"])
def test_a_wrong_unit_is_named(labels, name, unit):
    assert unit in check_forces(with_forces(labels[name], lambda forces: forces * FORCE_UNITS[unit])).mismatch


@pytest.mark.parametrize("unit", ["eV/bohr", "eV/Å converted as if from eV/bohr"])
@pytest.mark.parametrize("name", ["methanol", "hot methanol"])
def test_a_factor_that_a_foundation_could_have_is_decided_by_the_energies(labels, name, unit):
    wrong = with_forces(labels[name], lambda forces: forces * FORCE_UNITS[unit])
    assert unit in check_forces(wrong).mismatch
    assert check_forces(with_energies(wrong, FORCE_UNITS[unit])).mismatch == ""  # a soft foundation
    assert check_forces(with_energies(wrong, np.nan)).mismatch == ""


@pytest.mark.parametrize("name", ["methanol", "benzene", "oxygen", "copper", "molten aluminium"])
def test_a_wrong_sign_is_caught(labels, name):
    wrong = with_forces(labels[name], np.negative)
    assert "wrong sign" in check_forces(wrong).mismatch
    assert "instead of" not in check_forces(wrong).mismatch


def test_sign_and_unit_together_are_both_named(labels):
    wrong = with_forces(labels["benzene"], lambda forces: -forces * FORCE_UNITS["Hartree/bohr"])
    assert "wrong sign" in check_forces(wrong).mismatch
    assert "Hartree/bohr" in check_forces(wrong).mismatch


def in_mixed_order(labels):
    """Methanol as H C H O H H, correct, and with the forces sorted by element symbol."""
    order = np.array([2, 0, 4, 1, 3, 5])
    mixed = [
        replace(
            one,
            atoms=one.atoms[order],
            forces_eV_per_A=one.forces_eV_per_A[order],
            model_forces_eV_per_A=one.model_forces_eV_per_A[order],
        )
        for one in labels["methanol"]
    ]
    by_symbol = np.argsort(mixed[0].atoms.get_chemical_symbols(), kind="stable")
    return mixed, with_forces(mixed, lambda forces: forces[by_symbol])


def test_the_usual_order_is_named(labels):
    mixed, wrong = in_mixed_order(labels)
    assert check_forces(mixed).mismatch == ""
    assert "sorted by element symbol" in check_forces(wrong).mismatch


@pytest.mark.parametrize("name", ["benzene", "methanol", "copper"])
def test_an_order_of_no_convention_is_noticed_in_one_and_in_every_frame(labels, name):
    rng = np.random.default_rng(0)
    order = rng.permutation(len(labels[name][0].atoms))
    for change in (lambda forces: forces[order], rng.permutation):
        found = check_forces(with_forces(labels[name], change)).mismatch
        assert found == "the forces belong to other atoms: they follow no common convention"
    noise = with_forces(labels[name], lambda forces: rng.normal(size=forces.shape))
    assert check_forces(noise).mismatch == ""


def test_forces_of_other_structures_are_no_order(labels):
    others = iter(labels["benzene"][1:] + labels["benzene"][:1])
    found = check_forces(with_forces(labels["benzene"], lambda _: next(others).forces_eV_per_A))
    assert found.mismatch == ""
    assert found.correlation < 0.5
    assert "directions disagree" in found.sentence("The labels")


def test_an_order_that_spoils_only_some_compositions_is_not_hidden_by_the_others(labels):
    found = check_forces([*in_mixed_order(labels)[1], *labels["copper"], *labels["benzene"]])
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
    oxygen = Atoms("O2", [[0, 0, 0], [1.2, 0, 0]])
    frames = [ComparedLabel(oxygen, np.nan, label, None, np.nan, known, None) for label, known in forces]
    found = check_forces(frames)
    assert found.mismatch == ""
    assert found.correlation > 0.95
    wrong = check_forces(with_forces(frames, np.negative))
    assert "wrong sign: they are energy gradients, or the two atoms are exchanged" in wrong.mismatch
    turned_axes = check_forces(with_forces(frames, lambda forces: forces[:, [1, 2, 0]]))
    assert turned_axes.mismatch == ""
    assert turned_axes.correlation == pytest.approx(0)
    assert check_forces(frames[:3]).frames == 0


def test_forces_that_are_zero_are_named_and_absent_ones_are_not(labels):
    nothing = with_forces(labels["copper"], np.zeros_like)
    assert check_forces(nothing).mismatch == "the forces are zero where the foundation's are not"
    assert check_forces(with_forces(labels["copper"], lambda forces: np.nan * forces)).frames == 0


@pytest.mark.parametrize("unit", ENERGY_UNITS)
@pytest.mark.parametrize("name", ["methanol", "hot methanol"])
def test_a_unit_of_energies_is_named_where_energies_and_forces_vary_alike(labels, name, unit):
    wrong = with_energies(labels[name], ENERGY_UNITS[unit])
    found = check_forces(wrong).mismatch
    assert found.startswith("the energies are in ")
    assert unit in found
    assert check_forces(wrong[:3]).mismatch == ""


def test_the_only_frames_of_their_compositions_say_nothing_of_energies(labels):
    lone = [labels[name][0] for name in ("benzene", "copper", "CuAu", "hot water")]
    assert check_forces([*lone, *labels["methanol"][:2]]).mismatch == ""


def test_few_bad_labels_decide_nothing(labels):
    first, second, *rest = frames = labels["copper"]
    spoilt = [*with_forces([first], lambda f: -50 * f), *with_forces([second], np.zeros_like), *rest]
    assert check_forces(spoilt).mismatch == ""
    assert check_forces(frames[:3]).mismatch == ""
    still = [replace(one, model_forces_eV_per_A=0 * one.model_forces_eV_per_A) for one in frames]
    assert check_forces(still).frames == 0


@pytest.mark.parametrize("unit", STRESS_UNITS)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_stress_unit_and_sign_are_caught(labels, unit, sign):
    wrong = with_stress(labels["copper"], lambda stress: sign * STRESS_UNITS[unit] * stress)
    assert unit in check_stress(wrong)
    assert ("wrong sign" in check_stress(wrong)) == (sign < 0)


def test_a_virial_and_a_bare_wrong_sign_are_caught(labels):
    frames = labels["copper"]
    virials = [replace(one, stress_eV_per_A3=-one.atoms.get_volume() * one.stress_eV_per_A3) for one in frames]
    assert "virial" in check_stress(virials)
    assert check_stress(with_stress(frames, np.negative)).startswith("the stress has the wrong sign")


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_of_components_is_named(labels, order):
    assert order in check_stress(with_stress(labels["copper"], lambda stress: stress[np.argsort(ORDERS[order])]))


def test_a_factor_of_no_known_unit_is_noticed(labels):
    scaled = with_stress(labels["copper"], lambda stress: 1e5 * STRESS_UNITS["kbar"] * stress)
    assert "e+08 times that of the foundation, expected in eV/Å³" in check_stress(scaled)
    assert check_stress(with_stress(labels["copper"], lambda stress: 3 * stress)) == ""


def test_stress_that_is_zero_is_noticed_where_it_should_vary(labels):
    nothing = with_stress(labels["copper"], np.zeros_like)
    assert "the same in every frame" in check_stress(nothing)
    assert check_stress([replace(one, model_stress_eV_per_A3=np.zeros(6)) for one in nothing]) == ""


def as_other_system(label, symbol):
    atoms = label.atoms.copy()
    atoms.symbols[:] = symbol
    return replace(label, atoms=atoms)


def test_one_frame_far_out_and_systems_of_one_frame_decide_nothing(labels):
    first, *rest = labels["copper"]
    hole = replace(
        first,
        stress_eV_per_A3=-1000 * first.stress_eV_per_A3,
        model_stress_eV_per_A3=1000 * first.model_stress_eV_per_A3,
    )
    assert check_stress([hole, *rest]) == ""
    symbols = ("Ag", "Al", "Au", "Ir", "Ni", "Pb", "Pd", "Pt", "Rh", "Li", "Na", "K")
    lone = [as_other_system(one, symbol) for one, symbol in zip(labels["CuAu"] * 2, symbols, strict=True)]
    assert "wrong sign" in check_stress(with_stress([*labels["copper"], *lone], np.negative))


def test_an_even_pressure_is_honest(labels):
    pressure = np.array([1, 1, 1, 0, 0, 0]) * 0.2
    squeezed = with_stress([as_other_system(one, "Ag") for one in labels["copper"]], lambda stress: stress - pressure)
    assert check_stress(squeezed) == ""
    assert check_stress([*squeezed, *with_stress(labels["copper"], lambda stress: stress + pressure)]) == ""
