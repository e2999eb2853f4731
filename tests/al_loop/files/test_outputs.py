"""Outputs of DFT codes: the numbers, the energy whose derivative the forces are, and what is no label."""

from pathlib import Path

import dft_outputs as codes
import numpy as np
import pytest
from ase.io import write
from ase.stress import full_3x3_to_voigt_6_stress
from dft_outputs import Calculated, calculated

from al_loop.errors import InputError
from al_loop.files.labelled import read_labelled
from al_loop.files.labels.labelled_frames import LabelledFrames

WRITERS = {
    "OUTCAR": codes.outcar,
    "vasprun.xml": lambda steps, good: codes.vasprun(steps, [4 if one else 8 for one in good]),
    "cp2k-2025.out": codes.cp2k,
    "cp2k-7.out": lambda steps, good: codes.cp2k(steps, good, version=7),
    "orca.out": codes.orca,
    "aims.out": codes.aims,
    "gpaw.txt": codes.gpaw,
}
WITHOUT_STRESS = ("orca", "aims")
MOLECULAR = ("orca",)


def check_frame(frame, step: Calculated, name: str = "") -> None:
    assert list(frame.atoms.symbols) == list(step.atoms.symbols)
    np.testing.assert_allclose(frame.atoms.positions, step.atoms.positions, atol=2e-6)
    assert frame.energy_eV == pytest.approx(step.energy_eV, abs=2e-6)  # the free energy, 0.01 eV from sigma -> 0
    np.testing.assert_allclose(frame.forces_eV_per_A, step.forces, atol=1e-5)
    if not name.startswith(MOLECULAR):
        np.testing.assert_allclose(frame.atoms.cell.array, step.atoms.cell.array, atol=1e-6)
        assert frame.atoms.pbc.all()
    if name.startswith(WITHOUT_STRESS):
        assert np.isnan(frame.stress_eV_per_A3).all()
    else:
        np.testing.assert_allclose(frame.stress_eV_per_A3, full_3x3_to_voigt_6_stress(step.stress), atol=1e-6)
    assert frame.atoms.calc is None


@pytest.mark.parametrize("name", WRITERS)
def test_steps_that_did_not_converge_are_left_out_and_named(name: str, tmp_path: Path) -> None:
    steps = calculated(5)
    path = tmp_path / name
    path.write_text(WRITERS[name](steps, [True, False, True, True, False]))
    read = read_labelled(path)
    assert len(read.frames) == 3
    for frame, number in zip(read.frames, (1, 3, 4), strict=True):
        check_frame(frame, steps[number - 1], name)
        assert frame.where == f"{path}, step {number}"
    assert read.notes == (f"{path}: left out 2 of 5 steps (2, 5), because the electronic steps did not converge.",)


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_unconverged_steps_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(WRITERS[name](calculated(2), [False, False]))
    with pytest.raises(
        InputError, match=r"holds no label in 2 steps: the electronic steps did not converge .steps 1-2."
    ):
        read_labelled(path)


@pytest.mark.parametrize("name", WRITERS)
def test_of_a_run_that_was_killed_the_finished_steps_are_read(name: str, tmp_path: Path) -> None:
    steps = calculated(3)
    text = WRITERS[name](steps, [True] * 3)
    ends = {"OUTCAR": "FREE ENERGIE", "vasprun.xml": "</calculation>"}
    begins = {"orca.out": "SCF CONVERGED", "aims.out": "Begin self", "gpaw.txt": "Converged after"}
    word = ends.get(name) or begins.get(name, "SCF run converged")
    cut = text.rindex(word)
    (tmp_path / name).write_text(text[:cut])
    read = read_labelled(tmp_path / name)
    assert len(read.frames) == 2
    check_frame(read.frames[1], steps[1], name)


@pytest.mark.parametrize("name", ["OUTCAR", "vasprun.xml", "cp2k-2025.out"])
def test_what_ends_before_the_first_step_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(WRITERS[name](calculated(1), [True])[:900])
    with pytest.raises(InputError, match=r"cannot be read|no finished step"):
        read_labelled(tmp_path / name)


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz"])
def test_compressed_outputs_are_read(ending: str, tmp_path: Path) -> None:
    import importlib

    opened = importlib.import_module({"gz": "gzip", "xz": "lzma"}.get(ending, ending)).open
    (step,) = calculated(1)
    for name in ("OUTCAR", "vasprun.xml"):
        folder = tmp_path / name
        folder.mkdir()
        with opened(folder / f"{name}.{ending}", "wt") as file:
            file.write(WRITERS[name]([step], [True]))
        check_frame(read_labelled(folder / f"{name}.{ending}").frames[0], step)


# VASP


def read_vasp(folder: Path, **files: str) -> LabelledFrames:
    for name, text in files.items():
        (folder / {"outcar": "OUTCAR", "vasprun": "vasprun.xml"}[name]).write_text(text)
    return read_labelled(folder)


def test_vasp_5_does_not_say_that_a_loop_used_up_its_steps(tmp_path: Path) -> None:
    read = read_vasp(tmp_path, outcar=codes.outcar(calculated(3), [True, False, True], version=5))
    assert [frame.where[-1] for frame in read.frames] == ["1", "3"]


def test_an_outcar_with_van_der_waals_energies_beside_the_others(tmp_path: Path) -> None:
    steps = calculated(2)
    read = read_vasp(tmp_path, outcar=codes.outcar(steps, [True] * 2, vdw=True))
    for frame, step in zip(read.frames, steps, strict=True):
        check_frame(frame, step)


def test_steps_without_forces_are_left_out_and_the_other_file_is_named(tmp_path: Path) -> None:
    steps = calculated(3)
    read = read_vasp(tmp_path, outcar=codes.outcar(steps, [True] * 3, no_forces=(2,)))
    assert len(read.frames) == 2
    assert "left out 1 of 3 steps (2), because the file holds no forces" in read.notes[0]
    path = tmp_path / "OUTCAR"
    path.write_text(codes.outcar(steps, [True] * 3, no_forces=(1, 2, 3)))
    with pytest.raises(InputError, match=r"no forces.*Give the vasprun\.xml of the same run instead"):
        read_labelled(path)
    path.write_text(codes.outcar(steps, [True] * 3).replace("ions per type", "x"))
    (tmp_path / "vasprun.xml").write_text(codes.vasprun(steps, [4] * 3))
    with pytest.raises(InputError, match=r"Give .*/vasprun\.xml of the same run instead"):
        from al_loop.files.outputs import read_output

        read_output(path, "vasp-outcar")


def test_steps_of_the_machine_learned_force_field_are_no_labels(tmp_path: Path) -> None:
    steps = calculated(4)
    head = codes.outcar(steps[:1], [True])
    text = head + "".join(codes.outcar_learned_step(step) for step in steps[1:3]) + codes.outcar_step(4, steps[3], True)
    read = read_vasp(tmp_path, outcar=text)
    assert [frame.where[-1] for frame in read.frames] == ["1", "4"]
    check_frame(read.frames[1], steps[3])
    assert "left out 2 of 4 steps (2-3), because VASP's machine-learned force field predicted them" in read.notes[0]
    (tmp_path / "OUTCAR").unlink()
    read = read_vasp(tmp_path, vasprun=codes.vasprun(steps, [4] * 4, learned=(2, 3)))
    assert [frame.where[-1] for frame in read.frames] == ["1", "4"]
    assert "machine-learned" in read.notes[0]
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "OUTCAR").write_text(head[: head.index("\n---------")] + codes.outcar_learned_step(steps[1]))
    with pytest.raises(InputError, match="machine-learned"):
        read_labelled(tmp_path / "only" / "OUTCAR")


def test_an_outcar_tells_of_a_last_electronic_step_what_a_vasprun_cannot(tmp_path: Path) -> None:
    """Of 8 steps of at most 8 the words say whether the last met EDIFF, and a hard stop after 4 is no convergence."""
    steps = calculated(2)
    words = codes.outcar(steps, [True, True])
    words = words[::-1].replace("because EDIFF is reached"[::-1], "because hard stop was set"[::-1], 1)[::-1]
    read = read_vasp(tmp_path, vasprun=codes.vasprun(steps, [8, 4]), outcar=words)
    assert [frame.where for frame in read.frames] == [f"{tmp_path}/vasprun.xml, step 1"]
    (tmp_path / "OUTCAR").unlink()
    assert [frame.where[-1] for frame in read_vasp(tmp_path).frames] == ["2"]


def test_an_outcar_of_another_run_tells_nothing_of_a_vasprun(tmp_path: Path) -> None:
    other = codes.outcar(calculated(2, seed=40), [False, False])
    assert len(read_vasp(tmp_path, vasprun=codes.vasprun(calculated(2), [4, 4]), outcar=other).frames) == 2


def test_external_pressure_is_taken_out_of_the_energy(tmp_path: Path) -> None:
    """vasprun.xml holds the enthalpy; 10 kbar = 1 GPa."""
    (step,) = calculated(1)
    text = codes.vasprun([step], [4]).replace('<i name="EDIFF">', '<i name="PSTRESS">  10.0 </i>\n <i name="EDIFF">')
    (frame,) = read_vasp(tmp_path, vasprun=text).frames
    volume = step.atoms.cell.volume
    assert frame.energy_eV == pytest.approx(step.energy_eV - volume / 160.21766, abs=1e-5)


def test_constraints_of_a_vasp_run_are_kept(tmp_path: Path) -> None:
    (step,) = calculated(1)
    selective = '  <varray name="selective" >\n   <v type="logical" >  F  F  F </v>\n' + "   <v>  T  T  T </v>\n" * 3
    text = codes.vasprun([step], [4]).replace(" </structure>\n", f"{selective}  </varray>\n </structure>\n", 1)
    (frame,) = read_vasp(tmp_path, vasprun=text).frames
    assert [list(constraint.index) for constraint in frame.atoms.constraints] == [[0]]
    np.testing.assert_allclose(frame.forces_eV_per_A, step.forces, atol=1e-7)
    (tmp_path / "vasprun.xml").unlink()
    fixed = step.atoms.copy()
    fixed.set_constraint(frame.atoms.constraints)
    write(tmp_path / "POSCAR", fixed, format="vasp")
    (frame,) = read_vasp(tmp_path, outcar=codes.outcar([step], [True])).frames
    assert [list(constraint.index) for constraint in frame.atoms.constraints] == [[0]]


def test_numbers_that_overflowed_are_refused(tmp_path: Path) -> None:
    (step,) = calculated(1)
    path = tmp_path / "OUTCAR"
    text = codes.outcar([step], [True])
    path.write_text(text.replace(f"{step.forces[0, 0]:14.6f}", "*" * 14))
    with pytest.raises(InputError, match=r"the numbers of step 1 cannot be read.*vasprun\.xml"):
        read_labelled(path)


# CP2K


def test_a_trajectory_of_cp2k_is_joined_with_its_output(tmp_path: Path) -> None:
    steps = calculated(4)
    path = tmp_path / "md.out"
    path.write_text(codes.cp2k(steps, [True, False, True, True], run="MD"))
    with pytest.raises(InputError, match=r"its energy 2 has no coordinates.*copper-pos-1\.xyz.*is not in its folder"):
        read_labelled(path)
    positions = tmp_path / "copper-pos-1.xyz"
    positions.write_text(codes.cp2k_trajectory(steps, [step.atoms.positions for step in steps]))
    read = read_labelled(tmp_path)
    assert [frame.where for frame in read.frames] == [f"{path}, step {number}" for number in (1, 3, 4)]
    for frame, number in zip(read.frames, (0, 2, 3), strict=True):
        check_frame(frame, steps[number])
        assert frame.atoms.info == {"charge": 1, "spin": 2}
    doubled = [2 * step.forces / 51.42206747632590 for step in steps]
    (tmp_path / "copper-frc-1.xyz").write_text(codes.cp2k_trajectory(steps, doubled))
    np.testing.assert_allclose(read_labelled(path).frames[0].forces_eV_per_A, 2 * steps[0].forces, atol=1e-5)
    with pytest.raises(InputError, match="does not state whether a step converged; give CP2K's output"):
        read_labelled(positions)
    path.write_text(path.read_text().replace("Run type", "Ensemble type  NPT_I\n GLOBAL| Run type"))
    with pytest.raises(InputError, match=r"its cell varies, and copper-1\.cell"):
        read_labelled(path)
    cells = [
        " ".join(map(str, [index, 0.5 * index, *step.atoms.cell.array.ravel(), 47.0]))
        for index, step in enumerate(steps)
    ]
    (tmp_path / "copper-1.cell").write_text("# Step Time Ax\n" + "\n".join(cells) + "\n")
    assert len(read_labelled(path).frames) == 3


def test_single_points_in_one_file_of_cp2k(tmp_path: Path) -> None:
    steps = calculated(3)
    text = "".join(codes.cp2k([step], [good]) for step, good in zip(steps, [True, False, True], strict=True))
    (tmp_path / "all.out").write_text(text)
    read = read_labelled(tmp_path)
    check_frame(read.frames[1], steps[2])
    assert len(read.frames) == 2


# The rest


def test_orca_states_charge_and_multiplicity(tmp_path: Path) -> None:
    path = tmp_path / "orca.out"
    path.write_text(codes.orca(calculated(1), [True]))
    assert read_labelled(path).frames[0].atoms.info == {"charge": -1, "spin": 2}
    path.write_text(path.read_text().replace("CARTESIAN GRADIENT\n", "CARTESIAN GRADIENT\n\nCARTESIAN GRADIENT\n"))
    with pytest.raises(InputError, match="geometry 1 has several gradients"):
        read_labelled(path)


def test_constraints_of_aims_are_refused_because_they_change_what_is_printed(tmp_path: Path) -> None:
    path = tmp_path / "aims.out"
    path.write_text(codes.aims(calculated(1), [True], constraint=True))
    with pytest.raises(InputError, match="relaxation constraints are taken out"):
        read_labelled(path)


def test_gpaw_calls_converged_what_a_limit_of_iterations_ended(tmp_path: Path) -> None:
    path = tmp_path / "gpaw.txt"
    text = codes.gpaw(calculated(2), [True, True])
    path.write_text(text)
    assert np.allclose(read_labelled(path).frames[0].atoms.get_initial_magnetic_moments(), 0.5)
    path.write_text(text.replace("Positions:", " Maximum number of iterations [minit]: 12\nPositions:", 1))
    with pytest.raises(InputError, match="did not converge"):
        read_labelled(path)


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (".Version 9.10 of ABINIT", "ABINIT"),
        ("Entering Gaussian System, Link 0=g16", "Gaussian"),
        ("GAMESS VERSION", "GAMESS"),
    ],
)
def test_outputs_whose_convergence_cannot_be_judged_are_refused(head: str, code: str, tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text(f"\n {head}\n" + "text\n" * 50)
    with pytest.raises(InputError, match=f"the output of {code}, in which al-loop cannot see whether"):
        read_labelled(tmp_path / "job.log")
