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
from al_loop.files.record import Record
from al_loop.files.structures import read_structure
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
            extxyz.write_frame(file, Record(atoms, label, {"level_of_theory": level}))
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
