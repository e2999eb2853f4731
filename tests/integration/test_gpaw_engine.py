"""GPAW, for real: two or eight silicon atoms at settings that are quick and not converged."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from dft_interfaces.engines import build_engine
from dft_interfaces.errors import EngineSettingsError
from dft_interfaces.label import LabelStatus
from dft_interfaces.settings import GPAWSettings
from dft_interfaces.testing import Tolerances, check_engine


def _engine(**settings):
    return build_engine(GPAWSettings(engine="gpaw", **({"cutoff_eV": 300, "kpoint_density_A": 3} | settings)))


def _sheared_silicon():
    atoms = bulk("Si")
    atoms.rattle(0.08, seed=1)
    strain = np.array([[0.03, 0.02, -0.03], [0.02, -0.02, 0.04], [-0.03, 0.04, 0.015]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


def test_the_contract_with_stress(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    label = check_engine(_engine(), _sheared_silicon(), Tolerances(stress_eV_per_A3=1e-3))
    assert label.stress_eV_per_A3.shape == (6,)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_too_few_cycles_are_unconverged_with_the_last_lines():
    label = _engine(max_cycles=2).label(_sheared_silicon())
    assert label.status is LabelStatus.UNCONVERGED
    assert label.energy_eV is None
    assert "within 2 cycles" in label.message
    assert "iter:   2" in label.message


def test_initial_moments_make_it_spin_polarised():
    atoms = Atoms("N", cell=[4, 4.2, 4.4], pbc=True)
    flat = _engine(smearing_eV=0.05).label(atoms)
    atoms.set_initial_magnetic_moments([3.0])
    magnetic = _engine(smearing_eV=0.05).label(atoms)
    assert (flat.status, magnetic.status) == (LabelStatus.CONVERGED, LabelStatus.CONVERGED)
    assert flat.energy_eV - magnetic.energy_eV > 1.0  # Hund's rule: nitrogen's quartet is eV below


def _charged():
    atoms = bulk("Si")
    atoms.info["charge"] = 1
    return atoms


def _triplet():
    atoms = bulk("Si")
    atoms.info["spin"] = 3
    return atoms


@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        (molecule("CH4"), "engine pyscf"),
        (bulk("MgO", "rocksalt", 4.2), "with O, expected at least 600"),
        (_charged(), "charge +1"),
        (_triplet(), "without initial magnetic moments"),
        (bulk("Pu", "fcc", 4.6), "no atomic setup"),
    ],
)
def test_what_cannot_be_calculated_is_rejected(atoms, words):
    label = _engine().label(atoms)
    assert label.status is LabelStatus.REJECTED
    assert words in label.message


def test_an_unknown_functional_is_refused_at_once():
    with pytest.raises(EngineSettingsError, match="xc 'PBEE'"):
        _engine(xc="PBEE")


def test_the_mesh_follows_the_cell_and_skewed_cells_get_no_fewer_points():
    from dft_interfaces.engines.gpaw import kpoint_mesh

    cube = bulk("Si", "diamond", 5.0, cubic=True)
    assert kpoint_mesh(cube, 10.0) == (2, 2, 2)
    assert kpoint_mesh(cube, 10.1) == (3, 3, 3)
    assert kpoint_mesh(cube * (1, 1, 4), 20.0) == (4, 4, 1)
    assert min(kpoint_mesh(bulk("Si", "diamond", 5.0), 10.0)) == 4  # planes 2.9 Å apart, lattice vectors 3.5 Å
    assert kpoint_mesh(cube, 0.1) == (1, 1, 1)


def test_the_level_tells_apart_what_changes_numbers():
    variants = [{}, {"xc": "RPBE"}, {"cutoff_eV": 350}, {"kpoint_density_A": 4}, {"smearing_eV": 0.2}]
    assert len({_engine(**variant).level_of_theory.fingerprint for variant in variants}) == len(variants)
    assert _engine(max_cycles=3).level_of_theory.fingerprint == _engine().level_of_theory.fingerprint
