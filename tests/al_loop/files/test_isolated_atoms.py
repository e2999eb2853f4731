"""Isolated atoms are told from crystals of one atom, give the elements' energies, and are never frames."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from al_loop.errors import InputError
from al_loop.files.labelled import read_labelled
from al_loop.files.labels.isolated_atoms import atom_energies, is_isolated_atom
from al_loop.files.labels.labelled_frames import frame_of_file
from al_loop.records import Frame

NONE = float("nan")


def boxed(
    symbol: str, size_A: float | list[float], pbc: bool | tuple[bool, bool, bool] = True, **info: object
) -> Atoms:
    return Atoms(symbol, cell=np.eye(3) * size_A, pbc=pbc, info=dict(info))


@pytest.mark.parametrize(
    ("atoms", "alone"),
    [
        (Atoms("Cu"), True),
        (Atoms("Cu", pbc=True), True),  # no cell at all: nothing repeats it
        (Atoms("Cu", info={"config_type": "IsolatedAtom"}), True),
        (boxed("Cu", 12.0), True),
        (boxed("Cu", 3.0, pbc=False), True),
        (bulk("Cu"), False),
        (bulk("Cs", "bcc", a=6.1), False),
        (boxed("Cu", [12.0, 12.0, 2.5], (True, True, True)), False),  # a wire
        (boxed("Cu", [12.0, 12.0, 2.5], (True, True, False)), True),
        (bulk("Cu", a=3.6, cubic=True), False),
        (Atoms("Cu2", [[0, 0, 0], [0, 0, 2.2]]), False),
        (Atoms("Cu2", [[0, 0, 0], [0, 0, 2.2]], info={"config_type": "dimer"}), False),
    ],
)
def test_an_atom_is_alone_where_nothing_is_near(atoms: Atoms, alone: bool) -> None:
    assert is_isolated_atom(atoms, "x") is alone


@pytest.mark.parametrize("word", ["IsolatedAtom", "isolated_atom", "isolated atom", "ISOLATED-ATOM"])
def test_a_frame_that_says_it_is_one_and_is_not_is_refused(word: str) -> None:
    for atoms, what in ((bulk("Cu", cubic=True), "holds 4 atoms"), (bulk("Cu"), "repeats its atom every 2.55 Å")):
        atoms.info["config_type"] = word
        with pytest.raises(InputError, match=rf"a\.xyz, frame 3 states config_type={word} and {what}"):
            is_isolated_atom(atoms, "a.xyz, frame 3")


def frame(symbol: str, energy_eV: float, where: str, **info: object) -> Frame:
    return frame_of_file(Atoms(symbol, info=info), energy_eV, np.full((1, 3), NONE), np.full(6, NONE), where)


def test_the_neutral_ground_state_is_the_element() -> None:
    oxygen = [
        frame("O", -2041.0, "singlet", spin=1),
        frame("O", -2028.0, "cation", charge=1, spin=4),
        frame("O", -2040.5, "unstated"),
        frame("O", -2042.0, "triplet", charge=0, spin=3),
        frame("O", -2042.0004, "again", spin=3),
        frame("H", NONE, "bare"),
    ]
    found = atom_energies(oxygen)
    assert found.energies_eV == {"O": -2042.0}
    assert found.where == {"O": "triplet"}
    taken, unused = found.notes
    assert unused.startswith("4 isolated atoms that are not known")
    assert "taken for O (-2042 eV)" in taken
    assert "No spin is stated" not in taken
    for said in (
        "O of singlet (spin multiplicity 1, 3 in the ground state)",
        "O of cation (charge +1)",
        "O of unstated (its spin is not stated, that of triplet is)",
        "H of bare (no energy)",
    ):
        assert said in unused


def test_energies_of_one_state_that_differ_are_refused_naming_both_frames() -> None:
    for info in ({}, {"spin": 2}):
        pair = [frame("H", -13.5, "a.xyz, frame 0", **info), frame("H", -13.6, "b.xyz, frame 9", **info)]
        with pytest.raises(
            InputError, match=r"a\.xyz, frame 0 and b\.xyz, frame 9 .* isolated H atom -13\.5 and -13\.6"
        ):
            atom_energies(pair)


def test_a_spin_that_nobody_states_is_said_where_it_matters() -> None:
    assert "No spin is stated" in atom_energies([frame("O", -1.0, "x")]).notes[0]
    assert "No spin is stated" not in atom_energies([frame("He", -1.0, "x")]).notes[0]


def copper_and(path: Path, *lone: Atoms) -> Path:
    frames = []
    for seed in range(2):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        atoms.info["REF_energy"] = atoms.get_potential_energy()
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.calc = None
        frames.append(atoms)
    write(path, [*lone, *frames], format="extxyz")
    return path


def test_reading_sets_them_apart_with_and_without_forces(tmp_path: Path) -> None:
    bare = Atoms("Cu", info={"REF_energy": 3.51, "config_type": "IsolatedAtom"})
    zero = Atoms("Cu", info={"REF_energy": 3.51})
    zero.arrays["REF_forces"] = np.zeros((1, 3))
    read = read_labelled(copper_and(tmp_path / "a.extxyz", bare, zero))
    assert len(read.frames) == len(read.isolated_atoms) == 2
    (note,) = read.notes
    assert note == (
        "Energies of isolated atoms were taken for Cu (3.51 eV); those frames are not trained on or compared. No spin "
        "is stated: they are assumed to be spin-polarised, in the ground state."
    )
    crystal = bulk("Cu")
    crystal.info["REF_energy"] = -0.1
    crystal.arrays["REF_forces"] = np.zeros((1, 3))
    assert len(read_labelled(copper_and(tmp_path / "b.extxyz", crystal)).frames) == 3


@pytest.mark.parametrize(("symbol", "charge"), [("H", 1), ("He", 2)])
def test_a_bare_nucleus_alone_is_left_out_and_one_in_a_crystal_is_refused(
    tmp_path: Path, symbol: str, charge: int
) -> None:
    molecule = Atoms("H2", [[0, 0, 0], [0, 0, 0.8]], info={"REF_energy": -31.0})
    ion = Atoms(symbol, info={"REF_energy": 0.0, "config_type": "IsolatedAtom", "charge": charge})
    ion.arrays["REF_forces"] = np.zeros((1, 3))
    write(tmp_path / "a.extxyz", [molecule, ion])
    read = read_labelled(tmp_path / "a.extxyz")
    assert len(read.frames) == len(read.isolated_atoms) == 1
    said = f"1 isolated atom that is not known to be the neutral ground state was left out: {symbol} of "
    assert any(note.startswith(said) and f"frame 1 (charge +{charge})" in note for note in read.notes)
    assert atom_energies(read.isolated_atoms).energies_eV == {}
    near = boxed(symbol, 3.0, charge=charge, REF_energy=0.0)
    write(tmp_path / "a.extxyz", [molecule, near])
    with pytest.raises(InputError, match=r"frame 1: received charge \+\d, which leaves 0 electrons"):
        read_labelled(tmp_path / "a.extxyz")
    far = boxed(symbol, 1e6, charge=charge, REF_energy=0.0)
    write(tmp_path / "a.extxyz", [molecule, far])
    with pytest.raises(InputError, match=r"frame 1: received a length of 1e\+06 Å"):
        read_labelled(tmp_path / "a.extxyz")


def test_nothing_but_isolated_atoms_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.extxyz", [Atoms("Cu", info={"REF_energy": 3.51})])
    with pytest.raises(InputError, match=r"a\.extxyz, frame 0: only isolated atoms"):
        read_labelled(tmp_path / "a.extxyz")
    both = [tmp_path / "a.extxyz", copper_and(tmp_path / "b.extxyz")]
    assert len(read_labelled(both).frames) == 2


def test_frames_without_any_label_are_left_out_aloud(tmp_path: Path) -> None:
    read = read_labelled(copper_and(tmp_path / "a.extxyz", bulk("Cu", cubic=True)))
    assert len(read.frames) == 2
    assert f"1 frame holds neither energy nor forces and was left out ({tmp_path}/a.extxyz, frame 0)." in read.notes
