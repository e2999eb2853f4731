import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from dft_interfaces.engines import build_engine, engine_installed
from dft_interfaces.errors import EngineSettingsError
from dft_interfaces.label import LabelStatus
from dft_interfaces.settings import PySCFSettings
from dft_interfaces.testing import Tolerances, check_engine


def _engine(**settings):
    return build_engine(PySCFSettings(engine="pyscf", **settings))


def _rattled(name):
    atoms = molecule(name)
    atoms.rattle(0.05, seed=1)
    return atoms


@pytest.mark.parametrize(("name", "density_fit"), [("H2O", True), ("H2O", False), ("CN", True)])
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
    ("atoms", "basis", "words"),
    [
        (bulk("Si"), "def2-svp", "engine gpaw"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 0.74]], info={"spin": 2}), "def2-svp", "multiplicity 2"),
        (Atoms("IH", [[0, 0, 0], [0, 0, 1.6]]), "6-31g", "does not cover"),
    ],
)
def test_what_cannot_be_calculated_is_rejected(atoms, basis, words):
    label = _engine(basis=basis).label(atoms)
    assert label.status is LabelStatus.REJECTED
    assert words in label.message


@pytest.mark.parametrize(("settings", "words"), [({"xc": "pbee"}, "xc 'pbee'"), ({"basis": "def3"}, "basis 'def3'")])
def test_unknown_settings_are_refused_at_once(settings, words):
    with pytest.raises(EngineSettingsError, match=words):
        _engine(**settings)


def test_the_level_tells_apart_what_changes_numbers():
    variants = [{}, {"xc": "pbe0"}, {"basis": "def2-tzvp"}, {"density_fit": False}, {"grid_level": 2}]
    assert len({_engine(**variant).level_of_theory.fingerprint for variant in variants}) == len(variants)
    same = [{}, {"xc": "PBE"}, {"basis": "def2-SVP"}, {"max_cycles": 7}]
    assert len({_engine(**variant).level_of_theory.fingerprint for variant in same}) == 1


def test_the_fingerprint_is_pinned():
    # Labels in users' ledgers are found by it: a change orphans them all.
    assert _engine().level_of_theory.fingerprint == "f650f4667110e841"


def test_installed():
    assert engine_installed(PySCFSettings(engine="pyscf")) is None
