"""Labels as other codes and editors leave them: read, or refused and noted by name, never passed over in silence."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from al_loop.errors import InputError
from al_loop.files import extxyz
from al_loop.files.labelled import read_labelled
from al_loop.files.sources import find_sources
from al_loop.files.structures import read_structure
from al_loop.records import Frame
from dft_interfaces.label import Label, LabelStatus


def frames(count: int = 2, **info: object) -> list[Atoms]:
    found = []
    for seed in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.info = {"REF_energy": -14.0 - seed, **info}
        atoms.arrays["REF_forces"] = np.full((4, 3), 0.1)
        found.append(atoms)
    return found


def text(path: Path, given: list[Atoms]) -> str:
    write(path, given)
    return path.read_text()


@pytest.mark.parametrize("name", ["E_tot", "Etot", "energy_per_atom", "DFT_energy_eV", "TOTEN", "total_energy"])
def test_an_energy_under_a_name_of_its_own_is_not_passed_over(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(text(path, frames()).replace("REF_energy=", f"{name}="))
    with pytest.raises(InputError, match=rf"no frame has an energy under .*{name}.* with --energy-key .of the whole"):
        read_labelled(path)


@pytest.mark.parametrize("name", ["frc", "f", "dft_frc", "gradient"])
def test_forces_under_a_name_of_their_own_are_not_passed_over(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(text(path, frames()).replace("REF_forces:", f"{name}:"))
    with pytest.raises(InputError, match=rf"no frame has forces under .*{name}.* with --forces-key"):
        read_labelled(path)


def test_weights_and_units_are_no_energies(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    given = frames(config_energy_weight=0.0, energy_unit="eV", stress_weight=1.0, units="metal", length_unit="Ang")
    for atoms in given:
        del atoms.info["REF_energy"]
    write(path, given)
    read = read_labelled(path)
    assert len(read.frames) == 2
    assert not any("not read" in note for note in read.notes)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("units", "kcal/mol"),
        ("unit", "real"),
        ("energy_unit", "Hartree"),
        ("energy_units", "kJ/mol"),
        ("forces_unit", "Ha/Bohr"),
        ("force_units", "kcal/mol/A"),
        ("unit_energy", "Ry"),
        ("stress_unit", "GPa"),
        ("length_unit", "a.u."),
        ("positions_unit", "nm"),
    ],
)
def test_another_unit_that_a_frame_states_is_refused(tmp_path: Path, name: str, value: str) -> None:
    path = tmp_path / "a.xyz"
    write(path, [*frames(1), *frames(1, **{name: value})])
    with pytest.raises(InputError, match=rf"a.xyz, frame 1 states {name}={value}, expected eV, Å"):
        read_labelled(path)


def test_structures_are_refused_for_units_of_lengths_alone(tmp_path: Path) -> None:
    write(tmp_path / "a.xyz", frames(1, energy_unit="Hartree"))
    assert len(read_structure(tmp_path / "a.xyz")) == 4
    write(tmp_path / "a.xyz", frames(1, length_unit="bohr"))
    with pytest.raises(InputError, match="states length_unit=bohr"):
        read_structure(tmp_path / "a.xyz")


@pytest.mark.parametrize("name", ["stress", "REF_virials", "dft_virial"])
def test_stresses_and_virials_that_are_not_read_are_said(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.xyz", frames(**{name: np.eye(3)}))
    (note,) = read_labelled(tmp_path / "a.xyz").notes
    assert f"{name} was not read, because no frame has REF_stress" in note
    assert "minus the virial over the cell volume" in note
    write(tmp_path / "a.xyz", frames(**{name: np.eye(3), "REF_stress": np.zeros(6)}))
    assert read_labelled(tmp_path / "a.xyz").notes == ()


def test_marks_and_line_ends_of_editors_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    plain = text(path, frames())
    expected = [frame.energy_eV for frame in read_labelled(path).frames]
    for content in (b"\xef\xbb\xbf" + plain.encode(), plain.replace("\n", "\r\n").encode(), plain.encode() + b"\n\n"):
        path.write_bytes(content)
        assert [frame.energy_eV for frame in read_labelled(path).frames] == expected
        assert len(read_structure(path)) == 4


def labelled_by_al_loop(path: Path, *levels: str) -> Path:
    with path.open("w") as file:
        for number, level in enumerate(levels):
            (atoms,) = frames(1)
            atoms.info = {}
            del atoms.arrays["REF_forces"]
            atoms.rattle(0.1, seed=number)
            label = Label(LabelStatus.CONVERGED, level, -14.0, np.full((4, 3), 0.1))
            extxyz.write_frame(file, Frame("0", atoms, label=label, provenance={"level_of_theory": level}))
    return path


def test_labels_of_two_levels_that_al_loop_made_are_refused(tmp_path: Path) -> None:
    assert len(read_labelled(labelled_by_al_loop(tmp_path / "a.extxyz", "pbe-1", "pbe-1")).frames) == 2
    labelled_by_al_loop(tmp_path / "b.extxyz", "hse-2")
    said = r"labels of 2 levels of theory .*pbe-1 .*a.extxyz, frame 0. and hse-2 .*b.extxyz, frame 0.; expected one"
    with pytest.raises(InputError, match=said):
        read_labelled([tmp_path / "a.extxyz", tmp_path / "b.extxyz"])


def test_words_for_two_levels_are_said(tmp_path: Path) -> None:
    write(tmp_path / "a.xyz", [*frames(1, functional="PBE"), *frames(2, functional="B3LYP")[1:]])
    (note,) = read_labelled(tmp_path / "a.xyz").notes
    assert "different values of functional: PBE" in note
    assert "a.xyz, frame 1" in note


@pytest.mark.parametrize(
    "pbc",
    [
        '"no no no"',
        "no",
        "FFF",
        '"t t f"',
        '"[T, F, T]"',
        '"0.5 2 -1"',
        '"T F"',
        "T T F",
        '""',
        "None",
        '"true False 1"',
    ],
)
def test_a_periodicity_in_words_is_refused(tmp_path: Path, pbc: str) -> None:
    """ASE's reader takes every word that it does not know for true."""
    path = tmp_path / "a.xyz"
    path.write_text(text(path, frames(1)).replace('pbc="T T T"', f"pbc={pbc}"))
    with pytest.raises(InputError, match=r"frame 0 .*pbc=.*expected three of T and F in quotes"):
        read_labelled(path)


def test_a_periodicity_under_another_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(text(path, frames(1)).replace('pbc="T T T"', 'PBC="F F F"'))
    with pytest.raises(InputError, match="PBC="):
        read_labelled(path)


@pytest.mark.parametrize(
    ("pbc", "expected"),
    [
        ('"T T F"', [1, 1, 0]),
        ('"true false true"', [1, 0, 1]),
        ("F", [0, 0, 0]),
        ('"T,F,T"', [1, 0, 1]),
        ("'0 0 1'", [0, 0, 1]),
    ],
)
def test_a_periodicity_that_is_understood(tmp_path: Path, pbc: str, expected: list[int]) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(text(path, frames(1, note="pbc=no, by hand")).replace('pbc="T T T"', f"pbc={pbc}"))
    assert read_labelled(path).frames[0].atoms.pbc.tolist() == [bool(one) for one in expected]


@pytest.mark.parametrize("word", ["1", "7.5", "x"])
def test_a_row_with_a_word_too_many_is_refused(tmp_path: Path, word: str) -> None:
    """ASE's reader shifts the columns behind it and drops the last."""
    path = tmp_path / "a.xyz"
    lines = text(path, frames(2)).split("\n")
    lines[3] = lines[3].replace("Cu ", f"Cu {word} ", 1)
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"frame 0 .*row 1 holds 8"):
        read_labelled(path)


def test_truth_values_are_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(text(path, frames(1)).replace("REF_energy=-14.0", "REF_energy=T"))
    with pytest.raises(InputError, match=r"REF_energy cannot be read \(TypeError: True is a truth value\)"):
        read_labelled(path)


@pytest.mark.parametrize("word", ["abc", '"0,07"', "-1.5D+02x", '"1 2 3"', "T"])
def test_a_free_energy_that_is_no_number_is_refused(tmp_path: Path, word: str) -> None:
    path = tmp_path / "a.xyz"
    given = text(path, frames(2)).replace("REF_energy=", "energy=").replace("REF_forces:", "forces:")
    path.write_text(given.replace("energy=-14.0", f"energy=-14.0 free_energy={word}", 1))
    with pytest.raises(InputError, match=r"frame 0.*free_energy"):
        read_labelled(path)


def test_frames_without_a_free_energy_among_others_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    given = text(path, frames(3)).replace("REF_energy=", "energy=").replace("REF_forces:", "forces:")
    path.write_text(given.replace("energy=-14.0", "energy=-14.0 free_energy=-14.1", 1))
    read = read_labelled(path)
    assert [frame.energy_eV for frame in read.frames] == [-14.1, -15.0, -16.0]
    assert any("2 of 3 frames hold no free_energy" in note for note in read.notes)


def test_a_stress_that_is_not_symmetric_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    write(path, frames(1, REF_stress=[0.01, 0.05, 0, -0.05, 0.01, 0, 0, 0, 0.01]))
    with pytest.raises(InputError, match="is not symmetric"):
        read_labelled(path)


def test_a_headline_with_a_word_of_a_million_characters_is_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(text(path, frames(2)).replace("REF_energy=", f"hash={'a1' * 400_000} REF_energy="))
    assert [frame.energy_eV for frame in read_labelled(path).frames] == [-14.0, -15.0]


def test_labels_behind_links_are_found_and_a_circle_ends(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere/b.extxyz", frames(2))
    (tmp_path / "runs").mkdir()
    write(tmp_path / "runs/a.extxyz", frames(1))
    (tmp_path / "runs/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "runs/up").symlink_to(tmp_path / "runs")
    assert [source.path.name for source in find_sources(tmp_path / "runs").files] == ["a.extxyz", "b.extxyz"]
