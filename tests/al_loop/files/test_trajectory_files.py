"""Trajectories as codes write them and runs leave them: labels, lacking cells, lacking line ends, joined files."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import write

from al_loop.errors import InputError
from al_loop.files.surroundings import surroundings_of
from al_loop.files.trajectories import read_frames

HEADER = "unknown system\n 1\n 4.0 0.0 0.0\n 0.0 4.0 0.0\n 0.0 0.0 4.0\n{names}1 1\n"
ROWS = "  0.00000000  0.00000000  0.25000000{more}\n  0.50000000  0.50000000  0.50000000{more}\n"
XDATCAR = HEADER.format(names="Ti_pv O/1a2b3c4d\n") + "".join(
    f"Direct configuration=     {number}\n{ROWS.format(more='')}" for number in (1, 2)
)
XYZ = (
    "3\n i = 1, time = 0.000, E = -17.1\n  {0} 2.000000 2.000000 2.119262\n"
    "  {1} 2.000000 2.763239 1.522953\n  {1} 2.000000 1.236761 1.522953\n"
)
DUMP = (
    "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n2\nITEM: BOX BOUNDS pp pp pp\n0 4\n0 4\n0 4\n"
    "ITEM: ATOMS id {0} x y z\n2 {2} 0.500000 0.500000 0.500000\n1 {1} 1.000000 1.000000 1.250000\n"
)


def frames(path: Path, text: str, species: Sequence[str] = (), **more: str | None) -> list[Atoms]:
    path.write_text(text)
    return list(read_frames(path, species, surroundings=surroundings_of(more.get("cell"), more.get("pbc"))))


def formulas(found: list[Atoms]) -> list[str]:
    return [str(atoms.symbols) for atoms in found]


@pytest.mark.parametrize(
    "text",
    [
        XDATCAR,
        XDATCAR[:-1],  # the last line end
        XDATCAR.replace("Direct", "\nDirect", 1),
        XDATCAR.replace("Direct configuration=", "Konfig="),
        XDATCAR.replace("Direct configuration=     1\n", "\n").replace("Direct configuration=     2\n", "\n"),
        XDATCAR.replace("25000000\n", "25000000 T T F\n").replace("50000000\n", "50000000 T T T\n"),
        XDATCAR.replace(ROWS.format(more=""), ROWS.format(more=" 0.1 0.2 0.3 0.4")),
        XDATCAR.replace(" 1\n 4.0", " -64.0\n 8.0", 1).replace("0.0 4.0", "0.0 8.0"),
        XDATCAR.replace(" 1\n 4.0", " 2 2 2\n 2.0", 1).replace("0.0 4.0", "0.0 2.0"),
        XDATCAR.split("Direct configuration=     2")[0] * 2,  # joined from restarts
    ],
)
def test_every_shape_of_xdatcar_gives_the_same_frames(tmp_path: Path, text: str) -> None:
    found = frames(tmp_path / "XDATCAR", text)
    assert formulas(found) == ["TiO", "TiO"]
    for atoms in found:
        np.testing.assert_allclose(atoms.positions, [[0, 0, 1], [2, 2, 2]], atol=1e-12)
        np.testing.assert_allclose(atoms.cell.array, 4 * np.eye(3))
        assert atoms.pbc.all()


def test_a_changing_cell_and_cartesian_coordinates_are_followed(tmp_path: Path) -> None:
    second = HEADER.format(names="Ti O\n").replace("4.0", "5.0") + "Cartesian configuration= 2\n" + ROWS.format(more="")
    found = frames(tmp_path / "XDATCAR", XDATCAR.split("Direct configuration=     2")[0] + second)
    assert [atoms.cell[0, 0] for atoms in found] == [4.0, 5.0]
    np.testing.assert_allclose(found[1].positions, [[0, 0, 0.25], [0.5, 0.5, 0.5]])


def test_species_that_an_xdatcar_does_not_name_are_asked_for(tmp_path: Path) -> None:
    old, path = HEADER.format(names="") + "\n" + ROWS.format(more=""), tmp_path / "XDATCAR"
    with pytest.raises(InputError, match=r"does not name its species, it has 1, 1 atoms of each.*--species Na,Cl"):
        frames(path, old)
    assert formulas(frames(path, old, ["Ti", "O"])) == ["TiO"]
    with pytest.raises(InputError, match=r"has 2 species .1 1., --species names 1 .Ti."):
        frames(path, old, ["Ti"])
    doubtful = XDATCAR.replace("Ti_pv", "CA")
    with pytest.raises(InputError, match=r"XDATCAR: labels .*: CA .Ca or C.; give --species CA=C"):
        frames(path, doubtful)
    assert formulas(frames(path, doubtful, ["CA=Ca"])) == ["CaO", "CaO"]
    assert formulas(frames(path, doubtful, ["C", "O"])) == ["CO", "CO"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (XDATCAR[:-4], r"frame 1 .*seems cut off: its last number is 0\.50000"),
        (XDATCAR[:-14], "frame 1 .*cut off: its last row has 2 columns"),
        (XDATCAR[:-40], "frame 1 .*cut off: 1 of 2 atoms"),
        (XDATCAR[:-60] + "\n" + XDATCAR, "frame 1 .*in place of three coordinates"),
        (XDATCAR.replace("1 1\n", "1 1 1\n"), "names 2 species and counts of 3"),
        (XDATCAR.replace(" 1\n 4.0", " one\n 4.0"), "'one' in place of a scale"),
    ],
)
def test_an_xdatcar_that_is_cut_or_none_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        frames(tmp_path / "XDATCAR", text)


@pytest.mark.parametrize("labels", [("O", "H"), ("OW", "HW1"), ("O/1a2b", "H_h"), ("O2-", "H+")])
@pytest.mark.parametrize("end", ["\n", ""])
def test_an_xyz_of_any_labels_gets_its_cell(tmp_path: Path, labels: tuple[str, str], end: str) -> None:
    text = XYZ.format(*labels).rstrip() + end
    (atoms,) = frames(tmp_path / "run.xyz", text, cell="4 4 4", pbc="TTT")
    assert (str(atoms.symbols), atoms.pbc.all(), atoms.cell.lengths().tolist()) == ("OH2", True, [4, 4, 4])
    np.testing.assert_array_equal(atoms.positions[2], [2.0, 1.236761, 1.522953])
    (bare,) = frames(tmp_path / "run.xyz", text)
    assert not bare.pbc.any()


def test_doubtful_labels_of_an_xyz_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "run.xyz"
    with pytest.raises(InputError, match=r"xyz, frame 0: labels .*: SOD .no element., CA .*--species SOD=Symbol,CA=C"):
        frames(path, XYZ.format("SOD", "CA"))
    assert formulas(frames(path, XYZ.format("SOD", "CA"), ["SOD=Na", "CA=Ca"])) == ["NaCa2"]
    with pytest.raises(InputError, match=r"received Na,Ca, .*name its labels instead"):
        frames(path, XYZ.format("SOD", "CA"), ["Na", "Ca"])
    (heavy,) = frames(path, XYZ.format("O", "D"))
    assert (str(heavy.symbols), heavy.get_masses().round(3).tolist()) == ("OH2", [15.999, 2.014, 2.014])


def test_labels_of_an_extended_xyz_stand_where_its_header_says(tmp_path: Path) -> None:
    text = '1\nProperties=pos:R:3:species:S:1:tags:I:1 note="a b"\n0.0 0.1 0.2 HW1 7\n' * 2
    found = frames(tmp_path / "run.extxyz", text)
    assert [(str(a.symbols), a.positions.tolist(), a.get_tags().tolist(), a.info["note"]) for a in found] == [
        ("H", [[0.0, 0.1, 0.2]], [7], "a b")
    ] * 2
    vectors = "1\n\nHW 0 0 0\nVEC1 4 0 0\nVEC2 0 4 0\nVEC3 0 0 4\n1\n\nHW 0 0 1\nVEC1 4 0 0\nVEC2 0 4 0\nVEC3 0 0 5\n"
    assert [atoms.cell[2, 2] for atoms in frames(tmp_path / "run.xyz", vectors)] == [4.0, 5.0]


@pytest.mark.parametrize(("lost", "said"), [(4, "seems cut off"), (12, "cut off"), (40, "cut off")])
def test_an_xyz_that_is_cut_is_refused(tmp_path: Path, lost: int, said: str) -> None:
    whole = XYZ.format("O", "H") * 2
    with pytest.raises(InputError, match=f"frame 1 of the format extxyz cannot be read.*{said}"):
        frames(tmp_path / "run.xyz", whole[:-lost])


def test_numbers_of_free_length_are_whole_without_a_line_end(tmp_path: Path) -> None:
    text = "3\n\nO 0 0 0.119262\nH 0 0.763 -0.47\nH 0 -0.763 -0.5"
    (atoms,) = frames(tmp_path / "run.xyz", text)
    assert atoms.positions[2].tolist() == [0, -0.763, -0.5]


def test_a_dump_with_labels_and_without_its_last_line_end(tmp_path: Path) -> None:
    text, path = DUMP.format("element", "OW", "HW2")[:-1], tmp_path / "run.dump"
    (atoms,) = frames(path, text)
    assert str(atoms.symbols) == "OH"
    np.testing.assert_allclose(atoms.positions, [[1, 1, 1.25], [0.5, 0.5, 0.5]])
    with pytest.raises(InputError, match=r"run\.dump, frame 0: labels .*: CA"):
        frames(path, DUMP.format("element", "CA", "D"))
    (atoms,) = frames(path, DUMP.format("element", "CA", "D"), ["CA=C"])
    assert (str(atoms.symbols), atoms.get_masses().round(3).tolist()) == ("CH", [12.011, 2.014])
    for species in (["Na", "Cl"], ["1=Na", "2=Cl"]):
        assert formulas(frames(path, DUMP.format("type", 1, 2), species)) == ["NaCl"]
    with pytest.raises(InputError, match=r"received \[2\], expected each from 1 on"):
        frames(path, DUMP.format("type", 1, 2), ["2=Cl"])
    with pytest.raises(InputError, match="cut off"):
        frames(path, DUMP.format("type", 1, 2)[:-3], ["Na", "Cl"])


def test_names_of_biomolecular_files_are_not_guessed(tmp_path: Path) -> None:
    rows = "    1SOL     OW    1   0.000   0.000   0.012\n    2ION     {}    2   0.100   0.200   0.300\n"
    text, path = "t\n    2\n" + rows + "   1.00000   1.00000   1.00000\n", tmp_path / "run.gro"
    with pytest.raises(InputError, match=r"run\.gro, frame 0: labels .*: NA .Na or N."):
        frames(path, text.format("NA"))
    assert formulas(frames(path, text.format("NA"), ["NA=Na"])) == ["ONa"]
    assert formulas(frames(path, text.format("CL"))) == ["OCl"]
    write(tmp_path / "run.pdb", [molecule("CH4")] * 2)
    whole = (tmp_path / "run.pdb").read_text()
    assert formulas(frames(tmp_path / "run.pdb", whole)) == ["CH4", "CH4"]
    names = {" C": " CA ", " H": " HB1"}
    rows = [f"{x[:12]}{names[x[76:78]]}{x[16:76]}" if x.startswith("ATOM") else x for x in whole.split("\n")]
    bare = "\n".join(rows)
    with pytest.raises(InputError, match=r"run\.pdb, frame 0: labels .*: CA .Ca or C."):
        frames(tmp_path / "run.pdb", bare)
    assert formulas(frames(tmp_path / "run.pdb", bare, ["CA=C"])) == ["CH4", "CH4"]


def test_a_cell_that_the_file_states_otherwise_is_an_error_with_its_frame(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="XDATCAR, frame 0 states a cell of 4 4 4 90 90 90"):
        frames(tmp_path / "XDATCAR", XDATCAR, cell="4 4 5")
    assert len(frames(tmp_path / "XDATCAR", XDATCAR, cell="4 0 0 0 4 0 0 0 4", pbc="xyz")) == 2


def test_a_file_that_its_reader_appends_to_ends_where_it_ended(tmp_path: Path) -> None:
    path, count = tmp_path / "run.xyz", 0
    path.write_text(XYZ.format("O", "H") * 3)
    for _ in islice(read_frames(path), 10):
        with path.open("a") as file:
            file.write(XYZ.format("O", "H"))
        count += 1
    assert count == 3
