import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from pyscf import gto

from dft_interfaces.engines import build_engine
from dft_interfaces.engines.calculation import labelled
from dft_interfaces.errors import EngineSettingsError
from dft_interfaces.label import Failure, LabelStatus
from dft_interfaces.settings import PySCFSettings
from dft_interfaces.settings.pyscf import PySCFRetryStrategy
from dft_interfaces.testing import Tolerances, check_engine, check_retry_strategies


def _engine(**settings):
    return build_engine(PySCFSettings(engine="pyscf", **settings))


def _rattled(name):
    atoms = molecule(name)
    atoms.rattle(0.05, seed=1)
    return atoms


@pytest.mark.parametrize(("name", "density_fit"), [("H2O", True), ("H2O", False), ("BeH", True)])
def test_the_contract(name, density_fit, capfd):
    label = check_engine(_engine(density_fit=density_fit), _rattled(name), Tolerances(displacement_A=0.003))
    assert label.stress_eV_per_A3 is None
    assert capfd.readouterr() == ("", "")


def test_hydrogen_energy_is_the_published_one():
    # PBE at the complete-basis limit: H2 -31.75 eV (-1.166 Hartree); def2-QZVP is within a few meV of it.
    label = _engine(basis="def2-qzvp").label(molecule("H2"))
    assert label.energy_eV == pytest.approx(-1.166 * 27.2114, abs=0.03)


def test_one_atom_has_no_force():
    label = _engine().label(Atoms("H"))
    assert label.status is LabelStatus.CONVERGED
    assert np.abs(label.forces_eV_per_A).max() < 1e-6


def test_hydrogen_in_a_minimal_basis_has_no_orbital_to_mix_with():
    label = build_engine(PySCFSettings(engine="pyscf", basis="sto-3g", grid_level=1)).label(Atoms("H"))
    assert label.status is LabelStatus.CONVERGED, label.message


def test_charge_and_spin_are_read_from_the_structure():
    engine = _engine(grid_level=1)
    energies = {}
    for charge, spin in [(0, None), (0, 3), (1, 2)]:
        atoms = molecule("H2O")
        atoms.info.update(charge=charge, spin=spin)
        energies[charge, spin] = engine.label(atoms).energy_eV
    assert energies[0, 3] - energies[0, None] > 5  # eV: a broken bond's worth
    assert 11 < energies[1, 2] - energies[0, None] < 14  # the ionisation energy of water is 12.6 eV


def test_core_potentials_come_with_the_basis():
    label = _engine(grid_level=1).label(Atoms("IH", [[0, 0, 0], [0, 0, 1.61]]))
    assert label.status is LabelStatus.CONVERGED
    assert -8500 < label.energy_eV < -8000  # all-electron iodine would be at -190000 eV


def test_too_few_cycles_are_unconverged_with_the_last_lines():
    label = _engine(max_cycles=2).label(_rattled("H2O"))
    assert label.status is LabelStatus.UNCONVERGED
    assert label.energy_eV is None
    assert "within 2 cycles" in label.message
    assert "cycle= 2 E= " in label.message


@pytest.mark.parametrize(
    ("atoms", "basis", "fragment"),
    [
        (bulk("Si"), "def2-svp", "engine gpaw"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 0.74]], info={"spin": 2}), "def2-svp", "multiplicity 2"),
        (Atoms("IH", [[0, 0, 0], [0, 0, 1.6]]), "6-31g", "does not cover"),
    ],
)
def test_what_cannot_be_calculated_is_rejected(atoms, basis, fragment):
    label = _engine(basis=basis).label(atoms)
    assert label.status is LabelStatus.REJECTED
    assert fragment in label.message


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        ({"xc": "pbee"}, "xc 'pbee'"),
        ({"basis": "def3"}, "basis 'def3'"),
        ({"xc": "wb97m"}, "only together with a dispersion"),
        ({"xc": "wb97m_v", "dispersion": "D3(BJ)"}, "contains dispersion already.*xc wb97m$"),
        ({"xc": "svwn", "dispersion": "D3(BJ)"}, "no damping parameters"),
        ({"xc": "b3lyp", "dispersion": "D4", "basis": "def3"}, "basis 'def3'"),
        ({"xc": "wb97x", "dispersion": "D4"}, "two parametrisations"),
        ({"xc": "wb97x_d"}, "whose dispersion PySCF does not have"),
        ({"xc": "pbe-d3bj"}, "write xc: pbe and dispersion: D3.BJ."),
    ],
)
def test_unknown_settings_are_refused_at_once(settings, fragment):
    with pytest.raises(EngineSettingsError, match=fragment):
        _engine(**settings)


def test_the_level_tells_apart_what_changes_numbers():
    variants = [
        {},
        {"xc": "pbe0"},
        {"basis": "def2-tzvp"},
        {"density_fit": False},
        {"grid_level": 2},
        {"dispersion": "D3(BJ)"},
        {"dispersion": "D4"},
        {"xc": "wb97m", "dispersion": "D3(BJ)"},
        {"xc": "wb97m_v"},
        {"xc": "wb97m_v", "nlc_grid_level": 0},
        {"spin_check_below_eV": 0},
    ]
    assert len({_engine(**variant).level_of_theory.fingerprint for variant in variants}) == len(variants)
    same = [{}, {"xc": "PBE"}, {"basis": "def2-SVP"}, {"max_cycles": 7}, {"nlc_grid_level": 0}]
    assert len({_engine(**variant).level_of_theory.fingerprint for variant in same}) == 1


def test_the_fingerprint_is_pinned():
    # Labels in users' ledgers are found by it: a change orphans them all.
    assert _engine().level_of_theory.fingerprint == "d9718ec9837b832a"


@pytest.mark.parametrize(
    "settings",
    [
        {"dispersion": "D4"},
        {"xc": "wb97m", "dispersion": "D3(BJ)", "grid_level": 2},
        {"xc": "wb97m_v", "nlc_grid_level": 0, "grid_level": 2},
    ],
)
def test_forces_hold_dispersion_and_exact_exchange(settings):
    check_engine(_engine(**settings), _rattled("H2O"), Tolerances(displacement_A=0.003))


def test_dispersion_is_that_of_the_published_program():
    # simple-dftd3 1.7 with the parameters of PBE: meV of this water molecule, whatever the basis.
    atoms = _rattled("H2O")
    plain, corrected = (_engine(grid_level=1, dispersion=name).label(atoms) for name in ("", "D3(BJ)"))
    assert 1e3 * (corrected.energy_eV - plain.energy_eV) == pytest.approx(-9.8131, abs=1e-2)
    assert corrected.level_of_theory != plain.level_of_theory


def test_every_retry_strategy_ends_in_the_same_solution():
    check_retry_strategies(_engine(grid_level=1), _rattled("CN"), tolerance_eV=1e-5)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_retry_strategy_rescues_what_needs_more_cycles(position):
    engine, atoms = _engine(grid_level=1, max_cycles=4), _rattled("H2O")
    assert engine.label(atoms).status is LabelStatus.UNCONVERGED
    expected = _engine(grid_level=1).label(atoms).energy_eV
    assert engine.label(atoms, engine.ladder[position]).energy_eV == pytest.approx(expected, abs=1e-5)


def test_the_second_order_solver_rescues_what_only_oscillates():
    engine = _engine(grid_level=1, multiplicities_tried=1, max_cycles=30)
    silicon = Atoms("Si", info={"spin": 1})
    assert engine.label(silicon).failure is Failure.UNCONVERGED
    assert engine.label(silicon, engine.ladder[2]).status is LabelStatus.CONVERGED


def test_two_cores_give_the_same_forces():
    one, two = (_engine(grid_level=1, cores=cores).label(_rattled("H2O")) for cores in (1, 2))
    assert two.energy_eV == pytest.approx(one.energy_eV, abs=1e-8)
    np.testing.assert_allclose(two.forces_eV_per_A, one.forces_eV_per_A, atol=1e-6)


def test_integrals_beyond_the_memory_are_a_matter_of_memory():
    chain = gto.M(atom=[("H", (0, 0, index)) for index in range(4000)], basis="sto-3g", verbose=0)  # 2048 TB

    def calculate(atoms):
        return chain.intor("int2e")

    label = labelled(molecule("H2"), _engine().level_of_theory, calculate)
    assert label.failure is Failure.MEMORY


def test_a_retry_strategy_changes_the_iterations():
    def log_of(strategy):
        return engine.label(atoms, strategy).message

    engine, atoms = _engine(grid_level=1, max_cycles=1), _rattled("H2O")
    plain = log_of(None)
    assert "within 1 cycles" in plain
    shifted = PySCFRetryStrategy(name="s", level_shift_hartree=5)
    damped = PySCFRetryStrategy(name="d", damping=0.9, max_cycles=3)
    assert "within 1 cycles" in log_of(shifted)
    assert "within 3 cycles" in log_of(damped)
    assert log_of(damped) != log_of(PySCFRetryStrategy(name="m", max_cycles=3))
    assert "macro" in log_of(PySCFRetryStrategy(name="n", newton=True))
    warm = log_of(PySCFRetryStrategy(name="w", start_smearing_eV=2.0))
    assert _cycle_energy(warm) != _cycle_energy(plain)


def _cycle_energy(log):
    return [line for line in log.splitlines() if line.startswith("cycle= 1 ")]


def test_missing_dispersion_package_is_named(monkeypatch, tmp_path):
    (tmp_path / "pyscf").mkdir()
    (tmp_path / "pyscf" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pyscf")
    assert "pip install pyscf-dispersion" in PySCFSettings(engine="pyscf", dispersion="D4").remedy()
    assert PySCFSettings(engine="pyscf").remedy() is None


def test_installed():
    assert PySCFSettings(engine="pyscf").remedy() is None
