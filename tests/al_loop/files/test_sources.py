"""Files, folders and patterns of labels; what holds none is refused, and the file that does is named."""

from pathlib import Path

import dft_outputs as codes
import pytest
from ase.io import write
from dft_outputs import Calculated, calculated

from al_loop.errors import InputError
from al_loop.files.labelled import read_labelled
from al_loop.files.sources import find_sources


def labelled(path: Path, steps: list[Calculated], energy: str = "REF_energy", forces: str = "REF_forces") -> Path:
    frames = []
    for step in steps:
        atoms = step.atoms.copy()
        atoms.info[energy], atoms.arrays[forces] = step.energy_eV, step.forces
        frames.append(atoms)
    write(path, frames, format="extxyz")
    return path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder as people have it: two runs of VASP, one of pw.x that only began, CP2K, frames, and much else."""
    steps = calculated(6)
    for name in ("a", "b/deep", "qe", ".hidden", "cp2k"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "OUTCAR").write_text(codes.outcar(steps[:2], [True, True]))
    (tmp_path / "a" / "vasprun.xml").write_text(codes.vasprun(steps[:2], [4, 4]))
    (tmp_path / "b" / "deep" / "OUTCAR.2").write_text(codes.outcar(steps[2:3], [True]))
    (tmp_path / "qe" / "pw.out").write_text("\n     Program PWSCF v.6.7MaX starts\n")
    (tmp_path / "qe" / "slurm-17.out").write_text("loaded modules\n")
    (tmp_path / ".hidden" / "OUTCAR").write_text("not looked at")
    (tmp_path / "cp2k" / "x.out").write_text(codes.cp2k(steps[3:4], [True]))
    labelled(tmp_path / "frames.xyz", steps[4:6])
    write(tmp_path / "start.xyz", steps[0].atoms)
    for name in ("POSCAR", "INCAR", "notes.txt", "data.json"):
        (tmp_path / name).write_text('{"a": 1}')
    return tmp_path


def where(paths, root: Path) -> list[str]:
    return [frame.where.replace(f"{root}/", "") for frame in read_labelled(paths).frames]


def test_a_folder_is_searched_for_what_holds_labels(runs: Path) -> None:
    read = read_labelled(runs)
    assert where(runs, runs) == [
        "frames.xyz, frame 0",
        "frames.xyz, frame 1",
        "a/vasprun.xml, step 1",
        "a/vasprun.xml, step 2",
        "b/deep/OUTCAR.2, step 1",
        "cp2k/x.out, step 1",
    ]
    said = " ".join(read.notes)
    assert f"Of 1 VASP runs vasprun.xml is read and OUTCAR is not: {runs}/a/OUTCAR" in said
    assert f"{runs}/qe/pw.out (pw.x output)" in said
    assert f"{runs}/start.xyz: skipped, because no frame in it has an energy or forces" in said


def test_patterns_and_several_paths_name_each_file_once(runs: Path) -> None:
    found = where([runs / "**" / "OUTCAR*", runs / "a", runs / "frames.xyz", runs / "f*.xyz"], runs)
    assert sorted(found) == [
        "a/vasprun.xml, step 1",
        "a/vasprun.xml, step 2",
        "b/deep/OUTCAR.2, step 1",
        "frames.xyz, frame 0",
        "frames.xyz, frame 1",
    ]
    assert where(runs / "[a]", runs) == ["a/vasprun.xml, step 1", "a/vasprun.xml, step 2"]
    odd = labelled(runs / "odd[1].extxyz", calculated(1))
    assert len(read_labelled(odd).frames) == 1  # a file that is there is no pattern


def test_vasprun_that_is_empty_leaves_the_outcar(runs: Path) -> None:
    (runs / "a" / "vasprun.xml").write_text("")
    assert where(runs / "a", runs) == ["a/OUTCAR, step 1", "a/OUTCAR, step 2"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none.xyz", "none.xyz is not a file"),
        ("runs/*/OUTCAR", "nothing matches the pattern"),
        ("empty", r"the folder .*empty holds no file of labelled frames; it was searched for extended XYZ, aselmdb"),
        ("POSCAR", r"POSCAR holds no labels; give vasprun\.xml or OUTCAR of the same run instead"),
        ("a/XDATCAR", r"XDATCAR holds no labels; give .*a/(vasprun\.xml|OUTCAR) of the same run"),
        ("a/ML_ABN", r"ML_ABN holds no labels; give .*a/(vasprun\.xml|OUTCAR) of the same run"),
        ("notes.txt", "no format of labelled frames that al-loop knows; known are extended XYZ"),
        ("frames.pkl", "is a Python pickle, which may execute code"),
        ("start.xyz", "no frame has forces under the name 'REF_forces'"),
        ("qe/pw.out", "holds no finished step"),
        ("*.txt", "no format of labelled frames that al-loop knows"),
    ],
)
def test_what_holds_no_labels_is_refused(runs: Path, name: str, words: str) -> None:
    (runs / "empty").mkdir()
    for made in ("a/XDATCAR", "a/ML_ABN", "frames.pkl"):
        (runs / made).write_text("text")
    with pytest.raises(InputError, match=words):
        read_labelled(runs / name)


def test_a_folder_of_nothing_but_failures_says_why_each_failed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "OUTCAR").write_text(codes.outcar(calculated(1), [False]))
    with pytest.raises(InputError, match=r"no labels in any of 2 files.*a/OUTCAR.*did not converge.*b/OUTCAR"):
        read_labelled(tmp_path)
    with pytest.raises(InputError, match="no file of labelled frames was given"):
        find_sources([])
