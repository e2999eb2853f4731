"""Real i-PI moves the atoms, with the committee as its driver: the inputs of docs/sampling.md, as they stand."""

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.io import write
from ase.md.verlet import VelocityVerlet

from al_loop.errors import InputError
from al_loop.tools.ipi.driver import PREFIX, ipi_driver
from al_loop.tools.ipi.pes import CommitteePES
from committee import CommitteeCalculator, CommitteePotential

pytest.importorskip("ipi", reason="i-PI is not installed: pip install ipi")

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "sampling.md").read_text()
REMD, PIMD = re.findall(r"```xml\n(.*?)```", PAGE, re.DOTALL)
(PES,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
IPI = [sys.executable, str(Path(sys.executable).with_name("i-pi"))]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

NVE = """<simulation verbosity="low">
  <output prefix="nve">
    <properties stride="1" filename="out"> [step, potential{electronvolt}, conserved{electronvolt}] </properties>
    <trajectory stride="1" filename="force" extra_type="force_uncertainty"> extras </trajectory>
  </output>
  <total_steps>20</total_steps>
  <ffsocket name="committee" mode="unix"> <address>committee</address> </ffsocket>
  <system>
    <initialize nbeads="1"> <file mode="ase"> start.extxyz </file> </initialize>
    <forces> <force forcefield="committee"/> </forces>
    <motion mode="dynamics">
      <dynamics mode="nve"> <timestep units="femtosecond"> 1.0 </timestep> </dynamics>
    </motion>
  </system>
</simulation>
"""


@contextmanager
def running(place: Path, text: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """i-PI on an input whose socket has a name of its own."""
    name = f"committee-{uuid.uuid4().hex[:8]}"
    (place / "input.xml").write_text(text.replace("<address>committee<", f"<address>{name}<"))
    with (place / "ipi.log").open("wb") as log:
        process = subprocess.Popen([*IPI, "input.xml"], cwd=place, stdout=log, stderr=log, env=ENVIRONMENT)
        try:
            yield process, name
            assert process.wait(120) == 0, (place / "ipi.log").read_text()
        finally:
            process.kill()
            process.wait()
            Path(PREFIX + name).unlink(missing_ok=True)


def test_nve_is_that_of_ase_and_the_virial_is_right(place: Path, start: Atoms, potential: CommitteePotential) -> None:
    with running(place, NVE) as (_, name):
        assert ipi_driver(CommitteePES(potential, place / "start.extxyz"), name) == 21
    energies = np.loadtxt(place / "nve.out")[:, 1]
    start.calc = CommitteeCalculator(potential)
    expected = []
    dynamics = VelocityVerlet(start, timestep=1.0 * units.fs)
    dynamics.attach(lambda: expected.append(start.get_potential_energy()))
    dynamics.run(20)
    np.testing.assert_allclose(energies, expected, atol=1e-6, rtol=0)
    assert np.ptp(energies) > 1e-3  # the atoms moved


def test_the_answer_is_the_prediction_in_atomic_units(start: Atoms, potential: CommitteePotential) -> None:
    cell = start.cell.array + np.array([[0, 0, 0], [0.1, 0, 0], [0.2, 0.3, 0]])
    pes = CommitteePES(potential, start, members=True)
    energy, forces, virial, extras = pes(cell.T / units.Bohr, start.positions / units.Bohr)
    start.cell[:] = cell
    (exact,) = potential.predict([start], "exact")
    assert energy * units.Ha == pytest.approx(exact.energy, abs=1e-6)  # the model has single precision
    np.testing.assert_allclose(forces * units.Ha / units.Bohr, exact.forces, atol=2e-6)
    pressure = -np.trace(virial) * units.Ha / start.get_volume()
    assert pressure == pytest.approx(exact.stress[:3].sum(), abs=1e-6)
    assert virial[1, 2] * units.Ha / -start.get_volume() == pytest.approx(exact.stress[3], abs=1e-6)
    known = json.loads(extras)
    np.testing.assert_allclose(known["force_uncertainty"], exact.atomic_force_uncertainty, atol=1e-6)
    np.testing.assert_allclose(known["latent_distance"], exact.latent_distance, rtol=1e-4)
    assert known["energy_uncertainty"] == pytest.approx(np.std(known["committee_pot"], ddof=1) * units.Ha, rel=1e-4)
    np.testing.assert_allclose(np.mean(known["committee_virial"], axis=0), virial, atol=1e-6)
    assert known["verdict"] == "suspect"
    assert "uncalibrated" in known["reason"]


def test_atoms_that_collide_are_judged_unphysical(start: Atoms, potential: CommitteePotential) -> None:
    moved = start.positions.copy()
    moved[1] = moved[0] + 0.4 * (moved[1] - moved[0])
    *_, extras = CommitteePES(potential, start)(start.cell.array.T / units.Bohr, moved / units.Bohr)
    assert "close contact" in json.loads(extras)["reason"]


@pytest.mark.long
def test_replica_exchange_of_the_page_runs_over_the_command(place: Path, foundation: str) -> None:
    with running(place, REMD) as (_, name):
        command = [sys.executable, "-m", "al_loop.cli", "ipi", "start.extxyz", "--model", "model", "--socket", name]
        driver = subprocess.run(
            [*command, "--foundation", foundation],
            cwd=place,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert driver.returncode == 0, driver.stderr
    assert "84 structures" in driver.stdout
    ladder = [np.loadtxt(place / f"replica{i}_remd.out")[:, 3] for i in range(4)]
    for temperatures in np.transpose(ladder):
        np.testing.assert_allclose(sorted(temperatures), [300, 378, 476, 600], rtol=1e-6)
    assert (place / "replica0_remd.verdict_0").read_text().count("suspect") == 5
    command = [sys.executable, "-m", "al_loop.cli", "monitor", "--model", "model", "--foundation", foundation, "--json"]
    monitor = subprocess.run(
        [*command, "--trajectory", "replica0_remd.pos_0.extxyz", "--log", "log.jsonl"],
        cwd=place,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert monitor.returncode == 0, monitor.stderr
    assert json.loads(monitor.stdout)["checks"] == 5


def test_path_integrals_of_the_page_run_in_the_process_of_ipi(place: Path, foundation: str) -> None:
    (place / "committee_pes.py").write_text(PES)
    text = PIMD.replace("structure: start.extxyz", f"structure: start.extxyz, foundation: {foundation}")
    with running(place, text):
        pass
    for bead in range(4):
        rows = [line for line in (place / f"pimd.uncertainty_{bead}").read_text().splitlines() if "#" not in line]
        assert len(np.array(" ".join(rows).split(), dtype=float)) == 3 * 4  # steps 0, 5 and 10 of four atoms
    assert len(np.loadtxt(place / "pimd.out")) == 11


def test_ffcommittee_reads_the_members(place: Path, potential: CommitteePotential) -> None:
    wrapped = NVE.replace("<ffsocket name=", '<ffcommittee name="all"> <parse_json>true</parse_json> <ffsocket name=')
    wrapped = wrapped.replace("</ffsocket>", "</ffsocket> </ffcommittee>").replace(
        'forcefield="committee"', 'forcefield="all"'
    )
    wrapped = wrapped.replace("force_uncertainty", "committee_uncertainty").replace(">20<", ">2<")
    with running(place, wrapped) as (_, name):
        ipi_driver(CommitteePES(potential, place / "start.extxyz", members=True), name)
    assert np.loadtxt(place / "nve.force_0").max() > 0


def test_a_socket_that_closes_is_one_message(place: Path, foundation: str) -> None:
    name = f"committee-{uuid.uuid4().hex[:8]}"
    (place / "input.xml").write_text(
        NVE.replace("<address>committee<", f"<address>{name}<").replace(">20<", ">100000<")
    )
    command = [sys.executable, "-m", "al_loop.cli", "ipi", "start.extxyz", "--model", "model", "--socket", name]
    with (place / "ipi.log").open("wb") as log:
        ipi = subprocess.Popen([*IPI, "input.xml"], cwd=place, stdout=log, stderr=log, env=ENVIRONMENT)
        driver = subprocess.Popen(
            [*command, "--foundation", foundation], cwd=place, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
        )
        try:
            while not (place / "nve.out").exists() or (place / "nve.out").read_text().count("\n") < 8:
                assert driver.poll() is None
                assert ipi.poll() is None
            ipi.kill()
            _, told = driver.communicate(timeout=60)
        finally:
            for process in (ipi, driver):
                process.kill()
                process.wait()
            Path(PREFIX + name).unlink(missing_ok=True)
    assert driver.returncode == 1
    assert "closed after" in told
    assert "Traceback" not in told


def test_no_socket_is_one_message(potential: CommitteePotential, start: Atoms) -> None:
    with pytest.raises(InputError, match="start i-PI first"):
        ipi_driver(CommitteePES(potential, start), f"absent-{uuid.uuid4().hex[:8]}", wait_s=0.2)


def test_other_atoms_are_refused(potential: CommitteePotential, start: Atoms) -> None:
    with pytest.raises(InputError, match="sent 3 atoms, expected the 4"):
        CommitteePES(potential, start)(start.cell.array, start.positions[:3])
    with pytest.raises(InputError, match="expected uncertainty exact"):
        CommitteePES(potential, start, uncertainty="energy", members=True)
    with pytest.raises(InputError, match="expected one of"):
        CommitteePES(potential, start, uncertainty="none")  # type: ignore[arg-type]


def test_a_batch_has_the_answers_of_its_structures(potential: CommitteePotential, start: Atoms, tmp_path: Path) -> None:
    write(tmp_path / "start.extxyz", start)
    pes = CommitteePES(potential, tmp_path / "start.extxyz")
    cell, here = start.cell.array.T / units.Bohr, start.positions / units.Bohr
    there = here + np.random.default_rng(1).normal(scale=0.05, size=here.shape)
    for one, alone in zip(pes([cell, cell], [here, there]), (pes(cell, here), pes(cell, there)), strict=True):
        assert one[0] == pytest.approx(alone[0], abs=1e-7)
        np.testing.assert_allclose(one[1], alone[1], atol=1e-6)
