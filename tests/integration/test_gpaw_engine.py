"""GPAW, for real: two or eight silicon atoms at settings that are quick and not converged."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from dft_interfaces.engines import build_engine
from dft_interfaces.errors import EngineSettingsError
from dft_interfaces.label import LabelStatus
from dft_interfaces.settings import GPAWSettings
from dft_interfaces.testing import Tolerances, check_engine, check_retry_strategies


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
        (bulk("MgO", "rocksalt", 4.2), "expected at least 600 for a structure with O"),
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
    from dft_interfaces.geometry.kpoints import kpoint_mesh

    cube = bulk("Si", "diamond", 5.0, cubic=True)
    assert kpoint_mesh(cube, 10.0) == (2, 2, 2)
    assert kpoint_mesh(cube, 10.1) == (3, 3, 3)
    assert kpoint_mesh(cube * (1, 1, 4), 20.0) == (4, 4, 1)
    assert min(kpoint_mesh(bulk("Si", "diamond", 5.0), 10.0)) == 4  # planes 2.9 Å apart, lattice vectors 3.5 Å
    assert kpoint_mesh(cube, 0.1) == (1, 1, 1)


def test_the_level_tells_apart_what_changes_numbers():
    variants = [{}, {"xc": "RPBE"}, {"cutoff_eV": 350}, {"kpoint_density_A": 4}, {"smearing_eV": 0.2}]
    variants += [{"density_tolerance": 1e-4}, {"energy_tolerance_eV": 5e-4}]
    assert len({_engine(**variant).level_of_theory.fingerprint for variant in variants}) == len(variants)
    assert _engine(max_cycles=3).level_of_theory.fingerprint == _engine().level_of_theory.fingerprint


def test_every_retry_strategy_reaches_the_same_solution():
    check_retry_strategies(_engine(), _sheared_silicon(), tolerance_eV=1e-4)


def test_dispersion_is_part_of_energy_forces_and_stress():
    plain, corrected = (_engine(dispersion=kind).label(_sheared_silicon()) for kind in ("", "D3(BJ)"))
    assert corrected.energy_eV < plain.energy_eV - 0.3
    assert np.abs(corrected.forces_eV_per_A - plain.forces_eV_per_A).max() > 1e-3
    assert (corrected.stress_eV_per_A3 - plain.stress_eV_per_A3)[:3].max() > 1e-3  # dispersion pulls together


@pytest.mark.parametrize("kind", ["D3(BJ)", "D3(zero)"])
def test_dispersion_is_its_energys_derivative(kind):
    from dft_interfaces.engines.dispersion import dispersion_correction

    def energy(atoms):
        return dispersion_correction(atoms, "PBE", kind)[0]

    atoms, step = _sheared_silicon(), 1e-3
    _, forces, stress = dispersion_correction(atoms, "PBE", kind)
    moved, strained = [], []
    for sign in (1, -1):
        copy = atoms.copy()
        copy.positions[0, 1] += sign * step
        moved.append(energy(copy))
        copy = atoms.copy()
        shear = np.eye(3)
        shear[0, 1] = shear[1, 0] = sign * step / 2
        copy.set_cell(atoms.cell.array @ shear, scale_atoms=True)
        strained.append(energy(copy))
    assert forces[0, 1] == pytest.approx(-(moved[0] - moved[1]) / (2 * step), abs=1e-4)
    assert stress[5] == pytest.approx((strained[0] - strained[1]) / (2 * step) / atoms.cell.volume, abs=2e-5)


def test_more_cores_than_it_has_are_refused():
    label = _engine(cores=2).label(bulk("Si"))
    assert label.status is LabelStatus.REJECTED
    assert "without MPI" in label.message


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hubbard_U_eV": {"Ni3d": 6.2}}, "such as Ni-3d"),
        ({"hubbard_U_eV": {"Nn-3d": 6.2}}, "such as Ni-3d"),
        ({"hubbard_U_eV": {"Ni-3d": 6.2, "Ni-4s": 1.0}}, "one shell for each element"),
        ({"dispersion": "D3(BJ)", "xc": "LDA"}, "damping parameters"),
    ],
)
def test_corrections_that_do_not_exist_are_refused(settings, words):
    with pytest.raises((ValueError, EngineSettingsError), match=words):
        _engine(**settings)
