import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.constraints import FixAtoms

from dft_interfaces.engines import build_engine, engine_installed
from dft_interfaces.errors import EngineNotInstalledError, EngineSettingsError
from dft_interfaces.label import LabelStatus
from dft_interfaces.settings import ASECalculatorSettings
from dft_interfaces.testing import Tolerances, check_engine

EMT = "ase.calculators.emt.EMT"
TIGHT = Tolerances(forces_eV_per_A=1e-4, stress_eV_per_A3=1e-5, displacement_A=1e-4, strain=1e-5)


def _settings(calculator=EMT, **arguments):
    return ASECalculatorSettings(engine="ase", calculator=calculator, arguments=arguments)


def sheared_copper():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.08, seed=1)
    strain = np.array([[0.03, 0.02, -0.03], [0.02, -0.02, 0.04], [-0.03, 0.04, 0.015]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


def test_the_contract_with_stress():
    label = check_engine(build_engine(_settings()), sheared_copper(), TIGHT)
    assert label.stress_eV_per_A3 is not None


@pytest.mark.filterwarnings("ignore:No tensor product accelerator")  # SevenNet says so on every CPU
def test_a_learned_teacher_says_what_it_can_do_once_it_is_loaded():
    engine = build_engine(_settings("sevenn.calculator.SevenNetCalculator", model="7net-0", device="cpu"))
    assert engine.properties == {"energy", "forces", "stress"}
    atoms = bulk("Cu", a=3.7)
    label = engine.label(atoms)
    assert label.status is LabelStatus.CONVERGED
    assert label.stress_eV_per_A3[:3].max() > 0.01  # a stretched crystal pulls: positive in ASE's convention
    assert engine.label(atoms).energy_eV == label.energy_eV


def test_molecules_have_no_stress():
    label = build_engine(_settings()).label(molecule("CO"))
    assert label.status is LabelStatus.CONVERGED
    assert label.stress_eV_per_A3 is None


def test_constraints_do_not_hide_forces():
    atoms = sheared_copper()
    free = build_engine(_settings()).label(atoms).forces_eV_per_A
    atoms.set_constraint(FixAtoms([0, 1]))
    assert np.array_equal(build_engine(_settings()).label(atoms).forces_eV_per_A, free)


def test_an_unknown_element_is_a_failed_label_with_its_traceback():
    label = build_engine(_settings()).label(molecule("SiH4"))
    assert label.status is LabelStatus.FAILED
    assert "Traceback" in label.message
    assert "No EMT-potential for Si" in label.message


@pytest.mark.parametrize(
    ("calculator", "words"),
    [
        ("EMT", "expected an import path"),
        ("ase.calculators.emt.EMT()", "expected an import path"),
        ("ase.calculators.emt.ETM", "nothing of that name"),
        ("ase.calculators.emt.parameters", "expected a subclass"),
        ("ase.atoms.Atoms", "expected a subclass"),
        ("os.system", "expected a subclass"),
    ],
)
def test_only_calculator_classes_are_accepted(calculator, words):
    with pytest.raises(EngineSettingsError, match=words):
        build_engine(_settings(calculator))


def test_arguments_that_do_not_fit_are_refused_at_once():
    with pytest.raises(EngineSettingsError, match="'cutoff'"):
        build_engine(_settings("ase.calculators.tip3p.TIP3P", cutoff=5.0))


def test_missing_libraries_are_named_with_the_command():
    settings = _settings("no_such_library.calculator.Calculator")
    assert engine_installed(settings).endswith("pip install no_such_library")
    with pytest.raises(EngineNotInstalledError, match="pip install no_such_library"):
        build_engine(settings)
    with pytest.raises(EngineNotInstalledError, match="cannot be imported"):
        build_engine(_settings("ase.calculators.nonesuch.Calculator"))


def test_a_retrained_model_file_is_another_level_and_a_log_is_not(tmp_path):
    def fingerprint(**arguments):
        return build_engine(_settings(**arguments)).level_of_theory.fingerprint

    first, moved = tmp_path / "model.pt", tmp_path / "moved.pt"
    first.write_bytes(b"one")
    moved.write_bytes(b"one")
    before = fingerprint(model=str(first)), fingerprint(log=str(first))
    assert fingerprint(model=str(moved)) == before[0]
    first.write_bytes(b"two")
    assert fingerprint(model=str(first)) != before[0]
    assert fingerprint(log=str(first)) == before[1]
