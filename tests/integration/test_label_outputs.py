"""Outputs of pw.x and GPAW that are made here: what converged is read, what did not is left out and named."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read
from ase.io.espresso import write_espresso_in
from ase.units import create_units

from al_loop.errors import InputError
from al_loop.files.labelled import read_labelled
from dft_interfaces.settings import EspressoSettings
from dft_interfaces.settings.espresso import INSTALLED_PSEUDOPOTENTIALS

MISSING = EspressoSettings(engine="espresso").remedy()
needs_pw = pytest.mark.skipif(MISSING is not None and os.geteuid() != 0, reason=str(MISSING))
QUICK = {"ecutwfc": 12.0, "occupations": "smearing", "degauss": 0.02}
RYDBERG = create_units("2006")["Ry"]


def pw(folder: Path, calculation: str = "scf", max_step: int = 30, **system: object) -> Path:
    """Run pw.x on two atoms of silicon; a cycle that does not converge is no error to it."""
    folder.mkdir()
    atoms = bulk("Si")
    atoms.rattle(0.1, seed=1)
    control = {"calculation": calculation, "tprnfor": True, "tstress": True, "outdir": ".", "nstep": 4, "dt": 20.0}
    data = {
        "control": {**control, "pseudo_dir": str(INSTALLED_PSEUDOPOTENTIALS)},
        "system": {**QUICK, **system},
        "electrons": {"electron_maxstep": max_step, "scf_must_converge": False, "conv_thr": 1e-9},
    }
    with (folder / "pw.in").open("w") as file:
        write_espresso_in(file, atoms, input_data=data, pseudopotentials={"Si": "Si.upf"}, kpts=(1, 1, 1))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "pw.out").open("w") as out:
        done = subprocess.run(["pw.x", "-in", "pw.in"], cwd=folder, stdout=out, check=False, env=environment)
    assert done.returncode in {0, 3}  # 3: the relaxation used up its steps
    return folder / "pw.out"


@needs_pw
def test_pw_says_converged_of_a_cycle_that_used_up_its_steps(tmp_path: Path) -> None:
    path = pw(tmp_path / "few", max_step=3)
    assert "convergence has been achieved" in path.read_text()
    with pytest.raises(
        InputError, match=r"pw\.out .pw\.x output. holds no label in 1 steps: the electronic steps did not"
    ):
        read_labelled(path)


@needs_pw
def test_pw_molecular_dynamics_step_by_step(tmp_path: Path) -> None:
    whole = read_labelled(pw(tmp_path / "whole", "md")).frames
    by_ase = read(tmp_path / "whole" / "pw.out", ":")
    assert len(whole) == len(by_ase) == 4
    for frame, atoms in zip(whole, by_ase, strict=True):
        np.testing.assert_allclose(frame.atoms.positions, atoms.positions, atol=1e-9)
        np.testing.assert_allclose(frame.forces_eV_per_A, atoms.get_forces(), atol=1e-9)
        np.testing.assert_allclose(frame.stress_eV_per_A3, atoms.get_stress(), atol=1e-9)
        assert frame.energy_eV == pytest.approx(atoms.get_potential_energy(force_consistent=True), abs=1e-9)
    few = read_labelled(pw(tmp_path / "few", "md", max_step=7))
    text = (tmp_path / "few" / "pw.out").read_text()
    reached = [float(a) for a in re.findall(r"!    total energy.*\n.*scf accuracy\s+<\s+(\S+) Ry", text)]
    good = [number for number, accuracy in enumerate(reached, 1) if accuracy < 1e-9]
    assert 0 < len(good) < 4
    assert [frame.where for frame in few.frames] == [f"{tmp_path}/few/pw.out, step {number}" for number in good]
    assert f"left out {4 - len(good)} of 4 steps" in few.notes[0]


@needs_pw
def test_the_energy_of_a_relaxation_and_of_a_hybrid_functional(tmp_path: Path) -> None:
    """A relaxation tightens its threshold on the way; a hybrid functional begins with the energy of another."""
    assert len(read_labelled(pw(tmp_path / "relax", "relax")).frames) >= 3
    (frame,) = read_labelled(pw(tmp_path / "hse", max_step=60, input_dft="hse", nqx1=1, nqx2=1, nqx3=1)).frames
    (last,) = re.findall(r"^!!   total energy\s+=\s+(\S+) Ry", (tmp_path / "hse" / "pw.out").read_text(), re.MULTILINE)
    assert frame.energy_eV == pytest.approx(float(last) * RYDBERG, abs=1e-9)


def test_gpaw_text_has_the_free_energy_and_says_what_ended_the_cycle(tmp_path: Path) -> None:
    gpaw = pytest.importorskip("gpaw")
    atoms = bulk("Al")
    settings = {"mode": gpaw.PW(200), "kpts": (2, 2, 2), "xc": "LDA", "occupations": gpaw.FermiDirac(0.2)}
    energies = []
    with (tmp_path / "al.txt").open("w") as text:
        atoms.calc = gpaw.GPAW(**settings, txt=text)
        for scale in (1.0, 1.02):
            atoms.set_cell(bulk("Al").cell * scale, scale_atoms=True)
            energies.append(atoms.get_potential_energy(force_consistent=True))
            forces, stress = atoms.get_forces(), atoms.get_stress()
        assert abs(energies[1] - atoms.get_potential_energy()) > 0.01
    frames = read_labelled(tmp_path / "al.txt").frames
    assert [frame.energy_eV for frame in frames] == pytest.approx(energies, abs=1e-6)
    np.testing.assert_allclose(frames[1].forces_eV_per_A, forces, atol=1e-5)
    np.testing.assert_allclose(frames[1].stress_eV_per_A3, stress, atol=1e-5)
    np.testing.assert_allclose(frames[1].atoms.cell.array, atoms.cell.array, atol=1e-6)
    with (tmp_path / "few.txt").open("w") as text:
        atoms.calc = gpaw.GPAW(**settings, convergence={"maximum iterations": 3}, txt=text)
        atoms.get_forces()
    with pytest.raises(InputError, match="the electronic steps did not converge"):
        read_labelled(tmp_path / "few.txt")
