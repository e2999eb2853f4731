"""Engine vasp: inputs, results, and the classification of failures.

VASP is licensed and cannot be installed here. A program of our own (``vasp_stand_in.py``) runs in its place, as a real
process in a real scratch folder: it reads the inputs that were written and leaves files in VASP's format. This tests
our side of the edge, not VASP.
"""

import gzip
import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.io import read
from pymatgen.io.vasp.inputs import Incar

from dft_interfaces.engines import build_engine
from dft_interfaces.engines.vasp import VASPEngine
from dft_interfaces.errors import EngineNotInstalledError
from dft_interfaces.label import Failure, LabelStatus
from dft_interfaces.levels.foundation_levels import differences
from dft_interfaces.levels.foundation_table import UMA_TASKS
from dft_interfaces.settings import VASPSettings
from dft_interfaces.testing import check_engine

STAND_IN = Path(__file__).parent / "vasp_stand_in.py"


@pytest.fixture
def make_engine(tmp_path, write_potcars):
    """A function that builds an engine whose program follows a plan."""

    def make(plan: dict | None = None, **settings) -> VASPEngine:
        (tmp_path / "plan.json").write_text(json.dumps(plan or {}))
        program = tmp_path / "vasp_std"
        program.write_text(f"#!{sys.executable}\n{STAND_IN.read_text()}")
        program.chmod(0o755)
        (tmp_path / "scratch").mkdir(exist_ok=True)
        command = shlex.join([str(program), str(tmp_path / "plan.json")])
        potcars = write_potcars(["Al", "Cu_pv", "Cu", "Ni_pv"], sets=["potpaw_PBE.54", "potpaw_PBE"])
        settings = {"command": command, "potcars": potcars, "scratch": tmp_path / "scratch", **settings}
        engine = build_engine(VASPSettings(engine="vasp", **settings))
        assert isinstance(engine, VASPEngine)
        return engine

    return make


def alloy() -> Atoms:
    """Elements alternate, so that VASP's order is not ours; sheared and displaced, so that nothing is symmetric."""
    atoms = bulk("Al", "fcc", 4.0, cubic=True)
    atoms.symbols = ["Cu", "Al", "Cu", "Al"]
    cell = atoms.cell.array @ [[1.02, 0.05, 0.0], [0.0, 0.97, 0.04], [0.01, 0.0, 1.01]]
    atoms.set_cell(cell, scale_atoms=True)
    atoms.rattle(0.12, seed=3)
    return atoms


def emt(atoms: Atoms) -> Atoms:
    atoms.calc = EMT()
    return atoms


def test_the_contract_holds_with_units_signs_and_orders(make_engine):
    label = check_engine(make_engine(), alloy())
    assert label.energy_eV == pytest.approx(emt(alloy()).get_potential_energy(), abs=1e-7)
    assert np.allclose(label.forces_eV_per_A, emt(alloy()).get_forces(), atol=1e-8)
    assert np.allclose(label.stress_eV_per_A3, emt(alloy()).get_stress(), atol=1e-10)


def test_the_energy_is_the_free_energy_of_vasprun(make_engine):
    label = make_engine().label(alloy())
    assert label.energy_eV == pytest.approx(emt(alloy()).get_potential_energy(), abs=1e-7)  # e_0_energy is 0.01 above


def test_numbers_agree_with_ases_own_reader(make_engine, tmp_path):
    (tmp_path / "outputs").mkdir()
    label = make_engine({"outputs": str(tmp_path / "outputs")}).label(alloy())
    theirs = read(tmp_path / "outputs" / "vasprun.xml")
    order = [1, 3, 0, 2]  # Al before Cu
    assert list(theirs.symbols) == list(alloy().symbols[order])
    assert label.energy_eV == pytest.approx(theirs.get_potential_energy(force_consistent=True), abs=1e-7)
    assert np.allclose(label.forces_eV_per_A[order], theirs.get_forces())
    assert np.allclose(label.stress_eV_per_A3, theirs.get_stress())


def test_moments_come_back_in_the_callers_order(make_engine):
    label = make_engine().label(alloy())
    # The stand-in gives VASP's n-th atom n/2; Al goes before Cu.
    assert np.allclose(label.magnetic_moments_uB, [1.5, 0.5, 2.0, 1.0])
    assert make_engine(input_set="oc20").label(alloy()).magnetic_moments_uB is None


def test_every_calculation_has_a_fresh_folder_that_goes_away(make_engine, tmp_path):
    engine = make_engine()
    assert engine.label(alloy()).status is LabelStatus.CONVERGED
    assert list((tmp_path / "scratch").iterdir()) == []


def test_inputs_hold_charge_moments_and_multiplicity(make_engine, tmp_path):
    (tmp_path / "runs").mkdir()
    engine = make_engine({"runs": str(tmp_path / "runs")}, incar={"NCORE": 4, "kpar": 2})
    atoms = alloy()
    atoms.set_initial_magnetic_moments([1.0, 0.0, -1.0, 0.0])
    atoms.info.update(charge=-1, spin=2)
    label = engine.label(atoms)
    assert "background" in label.message
    incar = Incar.from_file(tmp_path / "runs" / "0" / "INCAR")
    assert incar["NELECT"] == 25
    assert incar["MAGMOM"] == [0.0, 0.0, 1.0, -1.0]
    assert (incar["NUPDOWN"], incar["NCORE"], incar["KPAR"], incar["NSW"]) == (1, 4, 2, 0)


@pytest.mark.parametrize(("order", "direction"), [([0, 1, 2], 3), ([2, 0, 1], 1), ([1, 0, 2], 3), ([2, 1, 0], 2)])
def test_a_slab_is_corrected_along_its_own_vector_of_the_written_cell(make_engine, tmp_path, order, direction):
    """The last two cells are left-handed: VASP gets their first two vectors swapped."""
    (tmp_path / "runs").mkdir()
    engine = make_engine({"runs": str(tmp_path / "runs")}, dipole_correction=True)
    slab = fcc111("Al", (1, 1, 3), a=4.0, vacuum=6)
    slab.symbols[2] = "Cu"
    slab.positions[:, 2] += 2.0
    middle = (slab.positions[:, 2].max() + slab.positions[:, 2].min()) / 2 / slab.cell.lengths()[2]
    slab.pbc = True
    slab.set_cell(slab.cell.array[order])
    label = engine.label(slab)
    assert label.status is LabelStatus.CONVERGED, label.message
    assert label.stress_eV_per_A3 is None
    assert "dipole correction along" in label.message
    incar = Incar.from_file(tmp_path / "runs" / "0" / "INCAR")
    assert (incar["LDIPOL"], incar["IDIPOL"]) == (True, direction)
    assert incar["DIPOL"] == pytest.approx([middle if i + 1 == direction else 0.5 for i in range(3)])
    of_bulk = engine.label(alloy())
    assert of_bulk.stress_eV_per_A3 is not None
    assert {"LDIPOL", "IDIPOL", "DIPOL"}.isdisjoint(Incar.from_file(tmp_path / "runs" / "1" / "INCAR"))


def test_the_dipole_correction_is_another_level(make_engine):
    plain, corrected = (make_engine(dipole_correction=on).level_of_theory for on in (False, True))
    assert plain.fingerprint != corrected.fingerprint
    assert "dipole_correction" not in plain.more
    assert corrected.summary == f"{plain.summary}, dipole correction of slabs"


def written_moments(tmp_path, run):
    return Incar.from_file(tmp_path / "runs" / str(run) / "INCAR").get("MAGMOM")


def test_the_lowest_of_several_spin_starts_is_the_label(make_engine, tmp_path):
    (tmp_path / "runs").mkdir()
    starts = ("given", "antiferromagnetic", "none")
    engine = make_engine({"runs": str(tmp_path / "runs"), "eV_per_moment": 0.25}, spin_starts=starts)
    atoms = alloy()
    atoms.set_initial_magnetic_moments([2.0, 0.0, 2.0, 0.0])
    label = engine.label(atoms)
    assert [written_moments(tmp_path, run) for run in range(3)] == [[0, 0, 2, 2], [0, 0, 2, -2], [0, 0, 0, 0]]
    assert label.energy_eV == pytest.approx(emt(alloy()).get_potential_energy(), abs=1e-7)
    assert "moments antiferromagnetic kept: 1.000 eV below given" in label.message
    assert [attempt.what for attempt in label.attempts] == [f"moments {start}" for start in starts]
    assert atoms.get_initial_magnetic_moments().tolist() == [2.0, 0.0, 2.0, 0.0]


def test_a_frame_without_moments_keeps_those_of_the_set(make_engine, tmp_path):
    (tmp_path / "runs").mkdir()
    engine = make_engine({"runs": str(tmp_path / "runs")})
    assert engine.label(bulk("Ni", cubic=True)).status is LabelStatus.CONVERGED  # ase's Ni has moments of its own
    bare = bulk("Ni", cubic=True)
    bare.set_initial_magnetic_moments(None)
    assert engine.label(bare).status is LabelStatus.CONVERGED
    assert [written_moments(tmp_path, run) for run in range(2)] == [[0.6] * 4, [5.0] * 4]


def test_several_spin_starts_are_another_level_and_cost_as_many_calculations(make_engine):
    one, two = make_engine(), make_engine(spin_starts=("ferromagnetic", "none"))
    assert one.level_of_theory.spin == "polarised"
    assert two.level_of_theory.spin == "lowest of the starts ferromagnetic, none"
    assert two.estimate_s(alloy()) == 2 * one.estimate_s(alloy())
    assert differences(two.level_of_theory, UMA_TASKS["omat"]) == []


@pytest.mark.parametrize("outcar", [True, False])
def test_nelm_reached_is_not_converged_with_and_without_an_outcar(make_engine, outcar):
    label = make_engine({"steps": "NELM", "outcar": outcar}).label(alloy())
    assert (label.status, label.failure) == (LabelStatus.UNCONVERGED, Failure.UNCONVERGED)
    assert "NELM = 100" in label.message
    assert label.energy_eV is None


@pytest.mark.parametrize(
    ("log", "failure"),
    [
        ("Error EDDDAV: Call to ZHEGV failed. Returncode =   7 2 16", Failure.UNCONVERGED),
        ("BRMIX: very serious problems\n the old and the new charge density differ", Failure.UNCONVERGED),
        ("slurmstepd: error: Detected 1 oom-kill event(s). Out Of Memory", Failure.MEMORY),
        ("forrtl: severe (41): insufficient virtual memory", Failure.MEMORY),
        ("forrtl: No space left on device", Failure.DISK),
        ("slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2024-01-01 DUE TO TIME LIMIT ***", Failure.TIME),
        ("VERY BAD NEWS! internal error in subroutine SGRCON:\n Found some non-integer element", Failure.UNSUITABLE),
        ("VERY BAD NEWS! internal error in subroutine RHOSYG:", Failure.CRASH),
        ("forrtl: severe (174): SIGSEGV, segmentation fault occurred", Failure.CRASH),
        ("an unknown message", Failure.CRASH),
    ],
)
def test_vasps_last_lines_decide_the_kind_of_failure(make_engine, log, failure):
    label = make_engine({"log": log, "exit": 1, "keep": 0.4}).label(alloy())
    unconverged = failure is Failure.UNCONVERGED
    assert label.status is (LabelStatus.UNCONVERGED if unconverged else LabelStatus.FAILED)
    assert label.failure is failure
    assert log.splitlines()[-1].strip() in label.message
    assert "exit code 1" in label.message


def test_failure_messages_count_without_an_exit_code(make_engine):
    label = make_engine({"log": "Error EDDDAV: Call to ZHEGV failed", "keep": 0.4}).label(alloy())
    assert label.failure is Failure.UNCONVERGED
    assert "truncated" in label.message


@pytest.mark.parametrize(("kept", "fragment"), [(0, "left no vasprun.xml"), (0.3, "truncated"), (0.97, "truncated")])
def test_missing_and_truncated_output_is_named(make_engine, kept, fragment):
    label = make_engine({"keep": kept}).label(alloy())
    assert (label.status, label.failure) == (LabelStatus.FAILED, Failure.OUTPUT)
    assert fragment in label.message


def test_an_energy_that_is_not_a_number_is_rejected(make_engine):
    label = make_engine({"nan": True}).label(alloy())
    assert (label.status, label.failure) == (LabelStatus.REJECTED, Failure.NOT_FINITE)


def test_a_command_that_cannot_start_is_a_value(make_engine, tmp_path):
    engine = make_engine()
    engine._settings = engine._settings.model_copy(update={"command": str(tmp_path / "gone")})
    label = engine.label(alloy())
    assert label.failure is Failure.CRASH
    assert "could not be started" in label.message


def test_every_retry_strategy_keeps_the_level(make_engine, tmp_path):
    (tmp_path / "runs").mkdir()
    engine = make_engine({"runs": str(tmp_path / "runs")})
    plain = engine.label(alloy())
    for strategy in engine.ladder:
        label = engine.label(alloy(), strategy)
        assert label.level_of_theory == plain.level_of_theory
        assert label.status is LabelStatus.CONVERGED
    first, conjugate, slow, start, warm = (Incar.from_file(tmp_path / "runs" / str(run) / "INCAR") for run in range(5))
    assert (first["ALGO"], first["NELM"]) == ("Normal", 100)
    assert (conjugate["ALGO"], conjugate["NELM"]) == ("All", 200)
    assert (slow["AMIX"], slow["BMIX"], slow["AMIX_MAG"]) == (0.1, 0.0001, 0.4)
    assert (start["ISMEAR"], start["SIGMA"], start["LWAVE"]) == (0, 0.4, True)
    assert (warm["ISMEAR"], warm["SIGMA"], warm["ISTART"]) == (first["ISMEAR"], first["SIGMA"], 1)
    assert (tmp_path / "runs" / "4" / "WAVECAR").is_file()
    assert not (tmp_path / "runs" / "3" / "WAVECAR").is_file()


def test_a_pseudopotential_that_is_missing_rejects_the_structure(make_engine):
    engine = make_engine()
    gold = bulk("Au", cubic=True)
    label = engine.label(gold)
    assert (label.status, label.failure) == (LabelStatus.REJECTED, Failure.UNSUITABLE)
    assert "no POTCAR of Au for PBE_54" in label.message
    assert engine.unknown_elements(["Au", "Al", "Ni"]) == ["Au"]


def test_a_pseudopotential_of_another_functional_is_refused(make_engine, write_potcars):
    engine = make_engine()
    write_potcars(["Al"], functional="CA")
    assert "functional LEXCH = CA" in engine.label(alloy()).message


def test_a_file_under_another_name_is_refused(make_engine, tmp_path):
    engine = make_engine()
    folder = tmp_path / "potcars" / "potpaw_PBE.54"
    (folder / "Al" / "POTCAR").write_text((folder / "Ni_pv" / "POTCAR").read_text())
    assert "expected Al" in engine.label(alloy()).message


def test_custom_refuses_a_cutoff_below_that_of_the_pseudopotentials(make_engine):
    engine = make_engine(input_set="custom", incar={"ENCUT": 250}, kpoint_density_A=10)
    label = engine.label(alloy())
    assert label.status is LabelStatus.REJECTED
    assert "at least the 300 eV (ENMAX)" in label.message


def test_custom_writes_the_given_tags(make_engine, tmp_path):
    (tmp_path / "runs").mkdir()
    incar = {"ENCUT": 400, "METAGGA": "R2SCAN", "ISPIN": 2, "LDAU": True, "LDAUU": {"Cu": 4}, "LDAUL": {"Cu": 2}}
    incar |= {"LDAUJ": {"Cu": 0}, "LDAUTYPE": 2, "MAGMOM": {"Cu": 1.5}}
    engine = make_engine({"runs": str(tmp_path / "runs")}, input_set="custom", incar=incar, kpoint_density_A=10)
    assert engine.label(alloy()).status is LabelStatus.CONVERGED
    written = Incar.from_file(tmp_path / "runs" / "0" / "INCAR")
    assert (written["LDAUU"], written["LDAUL"]) == ([0, 4], [0, 2])
    assert written["MAGMOM"] == [0.6, 0.6, 1.5, 1.5]
    assert engine.level_of_theory.functional == "R2SCAN"
    assert engine.level_of_theory.hubbard_U_eV == {"Cu-d": 4.0}


def test_the_level_of_theory_distinguishes_pseudopotentials(make_engine, write_potcars, tmp_path):
    first = make_engine().level_of_theory
    assert first.fingerprint == make_engine().level_of_theory.fingerprint
    write_potcars(["Al"], valence=11.0)
    (tmp_path / "plan.json").write_text("{}")
    other = VASPEngine(VASPSettings(engine="vasp", potcars=tmp_path / "potcars")).level_of_theory
    assert first.pseudopotentials["Cu_pv"] == other.pseudopotentials["Cu_pv"]
    assert first.pseudopotentials["Al"] != other.pseudopotentials["Al"]
    assert first.fingerprint != other.fingerprint


def test_tags_of_the_algorithm_keep_the_level(make_engine):
    plain = make_engine().level_of_theory
    how = {"NCORE": 8, "KPAR": 2, "ALGO": "All", "NELM": 300, "AMIX": 0.1}
    assert make_engine(incar=how).level_of_theory.fingerprint == plain.fingerprint
    for what in ({"ENCUT": 600}, {"SIGMA": 0.1}, {"IVDW": 12}, {"LASPH": False}, {"ISYM": 0}, {"GGA": "PS"}):
        assert make_engine(incar=what).level_of_theory.fingerprint != plain.fingerprint


@pytest.mark.parametrize("task", ["omat", "omc", "odac", "oc20"])
def test_the_sets_are_at_the_level_of_umas_tasks(make_engine, task):
    level = make_engine(input_set=task).level_of_theory
    assert differences(level, UMA_TASKS[task]) == []
    assert differences(level, UMA_TASKS[task], {"Ni", "O"}) == []
    assert differences(level, UMA_TASKS[task], {"Ni", "Al"}) == []


def test_compressed_pseudopotentials_in_pymatgens_layout_are_the_same(make_engine, tmp_path):
    engine = make_engine()
    folder = tmp_path / "pymatgen" / "POT_GGA_PAW_PBE_54"
    folder.mkdir(parents=True)
    for name in ("Al", "Cu_pv", "Ni_pv", "Cu"):
        text = (tmp_path / "potcars" / "potpaw_PBE.54" / name / "POTCAR").read_bytes()
        (folder / f"POTCAR.{name}.gz").write_bytes(gzip.compress(text))
    other = make_engine(potcars=tmp_path / "pymatgen")
    assert other.level_of_theory.fingerprint == engine.level_of_theory.fingerprint
    assert other.label(alloy()).status is LabelStatus.CONVERGED


def test_larger_cells_and_denser_meshes_are_estimated_longer(make_engine):
    engine = make_engine()
    small, large = bulk("Al"), bulk("Al").repeat(3)
    assert engine.estimate_s(large) > engine.estimate_s(small) > 0
    dense = make_engine(kpoint_density_A=60)
    assert dense.estimate_s(small) > engine.estimate_s(small)


def test_an_engine_without_pseudopotentials_is_not_built(monkeypatch):
    for variable in ("VASP_PP_PATH", "PMG_VASP_PSP_DIR"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(EngineNotInstalledError, match="potcars"):
        build_engine(VASPSettings(engine="vasp", command=sys.executable))
