import sys
import types
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators import emt
from ase.calculators.calculator import FileIOCalculator
from ase.constraints import FixAtoms
from ase.stress import voigt_6_to_full_3x3_stress

from dft_interfaces.engines import build_engine
from dft_interfaces.errors import EngineNotInstalledError, EngineSettingsError
from dft_interfaces.label import Failure, LabelStatus
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


@pytest.mark.filterwarnings("ignore:No tensor product accelerator")  # SevenNet warns on every CPU
def test_properties_of_a_learned_teacher_are_known_once_it_is_loaded():
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
    ("calculator", "fragment"),
    [
        ("EMT", "expected an import path"),
        ("ase.calculators.emt.EMT()", "expected an import path"),
        ("ase.calculators.emt.ETM", "nothing of that name"),
        ("ase.calculators.emt.parameters", "expected a subclass"),
        ("ase.atoms.Atoms", "expected a subclass"),
        ("os.system", "expected a subclass"),
    ],
)
def test_only_calculator_classes_are_accepted(calculator, fragment):
    with pytest.raises(EngineSettingsError, match=fragment):
        build_engine(_settings(calculator))


def test_arguments_that_do_not_fit_are_refused_at_once():
    with pytest.raises(EngineSettingsError, match="'cutoff'"):
        build_engine(_settings("ase.calculators.tip3p.TIP3P", cutoff=5.0))


def test_missing_packages_are_named_and_never_guessed_in_an_index():
    settings = _settings("no_such_library.calculator.Calculator")
    assert "no package no_such_library" in settings.remedy()
    assert "PYTHONPATH" in settings.remedy()
    assert "pip install" not in settings.remedy()
    with pytest.raises(EngineNotInstalledError, match="PYTHONPATH"):
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


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:No tensor product accelerator")
def test_a_learned_teacher_keeps_the_contract_with_its_stress():
    settings = _settings("sevenn.calculator.SevenNetCalculator", model="7net-l3i5", device="cpu")
    label = check_engine(build_engine(settings), sheared_copper(), Tolerances(stress_eV_per_A3=1e-3))
    assert label.stress_eV_per_A3.shape == (6,)


PROGRAM = """
import sys
settings = open("in.txt").read().split()
spread = float(settings[0])
if spread > 0.5:
    print("SCF run", "NOT converged")
open("out.txt", "w").write(f"{-float(settings[1])} {settings[2]}")
"""


class ProgramCalculator(FileIOCalculator):
    """A code that ends well whether it converged or not, as CP2K does; its energy is minus its charge."""

    implemented_properties = ("energy", "forces")
    command = f"{sys.executable} program.py > log.txt"

    def __init__(self, mixing=0.1, charge=0, mult=1, **kwargs):
        super().__init__(command=self.command, **kwargs)
        self._words = f"{mixing} {charge} {mult}"

    def write_input(self, atoms, properties=None, system_changes=None):
        super().write_input(atoms, properties, system_changes)
        folder = Path(self.directory)
        (folder / "program.py").write_text(PROGRAM)
        (folder / "in.txt").write_text(self._words)

    def read_results(self):
        energy, mult = map(float, (Path(self.directory) / "out.txt").read_text().split())
        self.results = {"energy": energy, "forces": np.array([[0, 0, 1.0], [0, 0, -1.0]]), "magmoms": [mult - 1, 0.0]}


def _program(**settings):
    path = f"{__name__}.ProgramCalculator"
    return build_engine(ASECalculatorSettings(engine="ase", calculator=path, **settings))


@pytest.fixture
def importable(monkeypatch):
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this_module())


def _this_module():
    module = types.ModuleType(__name__)
    module.__dict__.update(globals())
    return module


@pytest.mark.usefixtures("importable")
def test_silent_failure_to_converge_is_detected_and_retried():
    engine = _program(arguments={"mixing": 0.9}, ladder=[{"name": "slow mixing", "arguments": {"mixing": 0.1}}])
    first = engine.label(molecule("CO"))
    assert (first.status, first.failure) == (LabelStatus.UNCONVERGED, Failure.UNCONVERGED)
    assert "log.txt contains 'SCF run NOT converged'" in first.message
    assert engine.label(molecule("CO"), engine.ladder[0]).status is LabelStatus.CONVERGED
    unaware = _program(arguments={"mixing": 0.9}, failure_lines=[])
    assert unaware.label(molecule("CO")).status is LabelStatus.CONVERGED


class MatrixEMT(emt.EMT):
    """Gives the stress as a matrix, as ASE allows."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["stress"] = voigt_6_to_full_3x3_stress(self.results["stress"])


@pytest.mark.usefixtures("importable")
def test_a_stress_matrix_is_brought_into_voigt_order():
    check_engine(build_engine(_settings(f"{__name__}.MatrixEMT")), sheared_copper(), TIGHT)


def test_only_what_changes_numbers_makes_another_level():
    def fingerprint(**settings):
        return build_engine(ASECalculatorSettings(engine="ase", calculator=EMT, **settings)).level_of_theory.fingerprint

    same = [{}, {"cores": 2}, {"failure_lines": ()}, {"ladder": [{"name": "again"}]}]
    assert len({fingerprint(**settings) for settings in same}) == 1
    others = [{}, {"arguments": {"asap_cutoff": True}}, {"functional": "PBE"}, {"dispersion": "D3(BJ)"}]
    assert len({fingerprint(**settings) for settings in others}) == len(others)


@pytest.mark.usefixtures("importable")
def test_whether_charge_and_multiplicity_reach_the_code_is_part_of_the_level():
    settings = [{}, {"charge_argument": "charge"}, {"charge_argument": "charge", "multiplicity_argument": "mult"}]
    assert len({_program(**one).level_of_theory.fingerprint for one in settings}) == len(settings)


@pytest.mark.usefixtures("importable")
def test_charge_and_multiplicity_of_the_frame_reach_the_code():
    engine = _program(charge_argument="charge", multiplicity_argument="mult")
    atoms = molecule("CO")
    atoms.info.update(charge=1, spin=2)
    label = engine.label(atoms)
    assert label.energy_eV == -1.0
    assert label.magnetic_moments_uB.tolist() == [1.0, 0.0]
    assert not atoms.has("initial_charges")


def test_charge_and_moments_reach_a_calculator_that_reads_them_from_the_structure():
    tblite = ASECalculatorSettings(
        engine="ase", calculator="tblite.ase.TBLite", arguments={"method": "GFN2-xTB", "verbosity": 0}
    )
    atoms = molecule("OH")
    atoms.set_initial_magnetic_moments(None)
    engine = build_engine(tblite)
    energies = []
    for charge in (0, -1):
        atoms.info["charge"] = charge
        energies.append(engine.label(atoms).energy_eV)
    assert energies[0] - energies[1] > 1.0  # an electron added to OH is bound by eV


def test_a_retry_may_not_have_arguments_that_do_not_fit():
    settings = ASECalculatorSettings(
        engine="ase",
        calculator="ase.calculators.tip3p.TIP3P",
        ladder=[{"name": "another", "arguments": {"cutoff": 5.0}}],
    )
    with pytest.raises(EngineSettingsError, match="'cutoff'"):
        build_engine(settings)
