"""Quantum ESPRESSO, for real: cells of one or two atoms at settings that are quick and not converged."""

import os
import resource
import signal
import threading
import time

import numpy as np
import psutil
import pytest
from ase import Atoms
from ase.build import bulk

from dft_interfaces.engines import build_engine
from dft_interfaces.label import Failure, LabelStatus
from dft_interfaces.settings import EspressoSettings
from dft_interfaces.testing import Tolerances, check_engine

MISSING = EspressoSettings(engine="espresso").remedy()
pytestmark = pytest.mark.skipif(MISSING is not None and os.geteuid() != 0, reason=str(MISSING))


def _engine(**settings):
    usual = {"cutoff_eV": 400, "kpoint_density_A": 3}
    return build_engine(EspressoSettings(engine="espresso", **(usual | settings)))


def _sheared(atoms):
    atoms.rattle(0.08, seed=1)
    strain = np.array([[0.03, 0.02, -0.03], [0.02, -0.02, 0.04], [-0.03, 0.04, 0.015]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


def _silicon():
    return _sheared(bulk("Si"))


def _stretched_hydrogen(moments):
    atoms = Atoms("H2", positions=[[0, 0, 0], [2.6, 0.1, 0.2]], cell=[5.2, 3.5, 3.4], pbc=True)
    atoms.set_initial_magnetic_moments(moments)
    return atoms


def _program(folder, script):
    """Write a shell script around the real pw.x."""
    program = folder / "wrapped-pw.x"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_the_contract_on_an_insulator(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    label = check_engine(_engine(), _silicon(), Tolerances(stress_eV_per_A3=1e-3))
    assert label.magnetic_moments_uB is None
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_the_energy_of_a_metal_is_the_one_that_forces_derive_from():
    engine = _engine(cutoff_eV=450, kpoint_density_A=5, smearing_eV=0.3)
    check_engine(engine, _sheared(bulk("Al") * (2, 1, 1)), Tolerances(stress_eV_per_A3=1e-3))


def test_a_magnetic_crystal_has_a_moment_and_is_lower_with_it():
    engine = _engine(cutoff_eV=1120, kpoint_density_A=4, spin_starts=("given", "none"))
    label = engine.label(bulk("Fe"))  # ASE gives it 2.3 µB
    assert label.status is LabelStatus.CONVERGED, label.message
    assert 1.5 < label.magnetic_moments_uB[0] < 3.5
    polarised, flat = label.attempts
    assert flat.energy_eV - polarised.energy_eV > 0.1
    assert label.energy_eV == polarised.energy_eV


def test_opposite_moments_on_one_element_stay_apart():
    antiparallel = _engine(cutoff_eV=880).label(_stretched_hydrogen([1.0, -1.0]))
    parallel = _engine(cutoff_eV=880).label(_stretched_hydrogen([1.0, 1.0]))
    first, second = antiparallel.magnetic_moments_uB
    assert first > 0.4
    assert second == pytest.approx(-first, abs=1e-2)
    assert parallel.energy_eV - antiparallel.energy_eV > 0.2  # singlet coupling of the stretched bond


def test_a_hubbard_U_changes_the_energy_and_its_derivatives_follow():
    atoms = Atoms("H2", positions=[[0, 0, 0], [0.8, 0.1, 0.2]], cell=[2.5, 2.6, 2.7], pbc=True)
    plain = _engine(cutoff_eV=880).label(atoms)
    engine = _engine(cutoff_eV=880, hubbard_U_eV={"H-1s": 3.0})
    moved = [atoms.copy(), atoms.copy()]
    moved[0].positions[1, 0] += 0.01
    moved[1].positions[1, 0] -= 0.01
    with_U, plus, minus = (engine.label(structure) for structure in (atoms, *moved))
    assert with_U.energy_eV - plain.energy_eV > 0.3
    expected = -(plus.energy_eV - minus.energy_eV) / 0.02
    assert with_U.forces_eV_per_A[1, 0] == pytest.approx(expected, abs=0.02)


def test_a_dispersion_correction_has_forces_and_stress():
    check_engine(_engine(dispersion="D3(BJ)"), _silicon(), Tolerances(stress_eV_per_A3=1e-3))


def test_two_cores_and_every_retry_strategy_give_the_same_label():
    usual = _engine().label(_silicon())
    hurried = _engine(max_cycles=3)
    labels = [_engine(cores=2).label(_silicon()), *(hurried.label(_silicon(), strategy) for strategy in hurried.ladder)]
    for label in labels:
        assert label.status is LabelStatus.CONVERGED, label.message
        assert label.energy_eV == pytest.approx(usual.energy_eV, abs=1e-6)
        assert label.forces_eV_per_A == pytest.approx(usual.forces_eV_per_A, abs=1e-3)
        assert label.level_of_theory == usual.level_of_theory


def test_too_few_cycles_are_unconverged_with_the_last_lines():
    label = _engine(max_cycles=3).label(_silicon())
    assert (label.status, label.failure) == (LabelStatus.UNCONVERGED, Failure.UNCONVERGED)
    assert "convergence NOT achieved after   3 iterations" in label.message
    assert "iteration #  3" in label.message


def test_a_program_killed_from_outside():
    def kill():
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for child in psutil.Process().children(recursive=True):
                if child.name() == "pw.x":
                    child.send_signal(signal.SIGKILL)
                    return
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    label = _engine(cutoff_eV=1500, kpoint_density_A=10).label(_silicon())
    killer.join()
    assert (label.status, label.failure) == (LabelStatus.FAILED, Failure.CRASH)
    assert "signal 9" in label.message


def test_a_full_disk():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        label = _engine().label(_silicon())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (label.status, label.failure) == (LabelStatus.FAILED, Failure.DISK)


def test_too_little_memory(tmp_path):
    program = _program(tmp_path, 'ulimit -v 400000\nexec pw.x "$@"')
    label = _engine(program=program, cutoff_eV=6000).label(_silicon())
    assert (label.status, label.failure) == (LabelStatus.FAILED, Failure.MEMORY), label.message


def test_an_output_that_was_cut_short(tmp_path):
    label = _engine(program=_program(tmp_path, 'pw.x "$@" | head -c 5000')).label(_silicon())
    assert (label.status, label.failure) == (LabelStatus.FAILED, Failure.OUTPUT)
    assert "ends before JOB DONE" in label.message


def test_an_output_without_forces(tmp_path):
    label = _engine(program=_program(tmp_path, 'pw.x "$@" | grep -v "force ="')).label(_silicon())
    assert (label.status, label.failure) == (LabelStatus.FAILED, Failure.OUTPUT)


def test_an_error_of_the_program_is_quoted(tmp_path):
    program = _program(tmp_path, 'sed -i s/fermi-dirac/no-such-smearing/ espresso.pwi\npw.x "$@"')
    label = _engine(program=program).label(_silicon())
    assert (label.status, label.failure) == (LabelStatus.FAILED, Failure.CRASH)
    assert "no-such-smearing" in label.message.splitlines()[2]


def test_the_level_tells_apart_what_changes_numbers():
    variants = [
        {}, {"cutoff_eV": 450}, {"density_cutoff_factor": 8}, {"kpoint_density_A": 4}, {"smearing_eV": 0.2},
        {"smearing": "gaussian"}, {"hubbard_U_eV": {"Ni-3d": 5}}, {"dispersion": "D3(BJ)"}, {"dispersion": "D3(zero)"},
        {"spin_starts": ("ferromagnetic", "none")},
    ]  # fmt: skip
    assert len({_engine(**variant).level_of_theory.fingerprint for variant in variants}) == len(variants)
    assert _engine(max_cycles=3, cores=2).level_of_theory.fingerprint == _engine().level_of_theory.fingerprint
    assert _engine().unknown_elements(["Si", "U"]) == ["U"]


def test_pseudopotentials_that_are_exchanged_under_a_running_engine_give_no_label(tmp_path):
    original = EspressoSettings(engine="espresso").pseudopotentials_folder / "Si.upf"
    exchanged = tmp_path / "Si.upf"
    exchanged.write_bytes(original.read_bytes())
    engine = _engine(pseudopotentials=tmp_path)
    assert engine.level_of_theory == _engine(pseudopotentials=tmp_path, xc="pbe").level_of_theory
    assert engine.label(_silicon()).status is LabelStatus.CONVERGED
    exchanged.write_bytes(original.read_bytes() + b"\n")
    label = engine.label(_silicon())
    assert label.status is LabelStatus.REJECTED
    assert "changed after the engine was built" in label.message


def test_estimates_grow_with_what_costs():
    small, large = bulk("Si"), bulk("Si", cubic=True)
    assert _engine().estimate_s(small) < _engine().estimate_s(large) < _engine(cutoff_eV=800).estimate_s(large)


def test_a_structure_that_no_spin_start_suits_has_an_estimate():
    iron = bulk("Fe")  # one atom has no antiferromagnetic order
    assert _engine(spin_starts=["antiferromagnetic"]).estimate_s(iron) > 0
