"""What a file states of charge, spin, masses and moments is what counts; what cannot be meant is refused by name."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.db import connect
from ase.io import write

from al_loop.errors import InputError
from al_loop.files.labelled import read_labelled
from al_loop.files.readers.ase_frames import code_statements
from al_loop.files.stated import as_stated
from al_loop.files.structures import read_structure, read_structures
from al_loop.files.trajectories import read_frames
from al_loop.frames.plain_atoms import plain_atoms

NITRITE = "3\nProperties=species:S:1:pos:R:3 {}\nN 0 0 0.45\nO 1.06 0 -0.2\nO -1.06 0 -0.2\n"


def nitrite(folder: Path, comment: str, name: str = "nitrite.extxyz") -> Path:
    path = folder / name
    path.write_text(NITRITE.format(comment))
    return path


@pytest.mark.parametrize(
    ("comment", "charge", "spin"),
    [
        ("charge=-1 spin=1", -1, 1),
        ("charge=-1.0 spin=1.0", -1, 1),
        ('charge="-1" multiplicity="+1"', -1, 1),
        ("total_charge=-1 total_spin=1", -1, 1),
        ("net_charge=-1 spin_multiplicity=3", -1, 3),
        ("Charge=-1 MULT=1", -1, 1),
        ("charge=-1 total_charge=-1.0", -1, None),
        ("charge=+1.0 spin=1", 1, 1),
        ("multiplicity=2", None, 2),
        ("charge=0 spin=0", 0, None),  # fairchem writes spin 0 where nothing is stated
        ("energy=-1.0", None, None),
    ],
)
def test_the_names_and_spellings_of_other_codes_are_understood(tmp_path, comment, charge, spin):
    path = nitrite(tmp_path, comment)
    for atoms in (read_structure(path), *read_structures(path), *read_frames(path)):
        assert atoms.info.get("charge") == charge
        assert atoms.info.get("spin") == spin
        assert all(type(atoms.info[key]) is int for key in ("charge", "spin") if key in atoms.info)
        assert not {"total_charge", "total_spin", "multiplicity", "net_charge", "Charge", "MULT"} & set(atoms.info)


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("charge=neutral", "received charge='neutral', expected a whole number in e"),
        ("charge=one", "charge='one'"),
        ("charge=1.5", "charge=1.5"),
        ("charge=nan", "charge=nan"),
        ("charge=inf", "charge=inf"),
        ('charge="1 2"', r"charge=\[1, 2\]"),
        ("charge=T", "charge=True"),
        ("total_charge=minus", "total_charge='minus'"),
        ("charge=-1 spin=0.5", "received spin=0.5, expected the multiplicity 2S"),
        ("charge=-1 multiplicity=0", "multiplicity=0"),
        ("charge=-1 spin=singlet", "spin='singlet'"),
        ("charge=-1 total_charge=0", "charge=-1 and total_charge=0, which contradict each other"),
        ("spin=1 multiplicity=3", "spin=1 and multiplicity=3"),
        ("charge=-1 spin=2", "spin=2 with charge=-1, which 24 electrons cannot have; use an odd number up to 25"),
        ("charge=0 total_spin=1", r"use an even number up to 24 \(2S \+ 1, not S and not the number of unpaired"),
        ("charge=30", r"charge=\+30, but its nuclei"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_file_frame_key_and_value(tmp_path, comment, expected):
    path = nitrite(tmp_path, comment)
    with pytest.raises(InputError, match=expected) as caught:
        read_structure(path)
    assert str(path) in str(caught.value)
    with pytest.raises(InputError, match=f"candidate 0: .*{expected}"):
        read_structures(path)


def test_per_atom_columns_state_no_total(tmp_path):
    path = tmp_path / "columns.extxyz"
    path.write_text("2\nProperties=species:S:1:pos:R:3:initial_charges:R:1:spin:R:1\nO 0 0 0 -1 1\nH 0 0 0.97 0 0\n")
    assert not {"charge", "spin"} & set(read_structure(path).info)


def test_a_gaussian_input_states_charge_and_multiplicity(tmp_path):
    path = tmp_path / "nitrite.gjf"
    path.write_text("#p hf/6-31g\n\ntitle\n\n-1 1\nN 0.0 0.0 0.45\nO 1.06 0.0 -0.2\nO -1.06 0.0 -0.2\n\n")
    atoms = read_structure(path)
    assert (atoms.info["charge"], atoms.info["spin"], atoms.calc) == (-1, 1, None)
    path.write_text("#p hf/6-31g\n\ntitle\n\n0 1\nO 0.0 0.0 0.0\nH(Iso=2) 0.0 0.0 0.96\nH 0.93 0.0 -0.24\n\n")
    assert read_structure(path).get_masses() == pytest.approx([15.999, 2.0141, 1.008], abs=1e-4)
    path.write_text("#p hf/6-31g\n\ntitle\n\n0 1\nO(Iso=18) 0.0 0.0 0.0\nH 0.0 0.0 0.96\nH 0.93 0.0 -0.24\n\n")
    with pytest.raises(InputError, match=r"O\(Iso=18.*for atom 0"):
        read_structure(path)


PW_INPUT = """&control
/
&system
ibrav=0, nat=2, ntyp=2, ecutwfc=30 ! tot_charge=3
tot_charge = -1.0d0
/
&electrons
/
ATOMIC_SPECIES
H 1.0 H.upf
O 15.999 O.upf
ATOMIC_POSITIONS angstrom
H 0 0 0
O 0 0 1
K_POINTS gamma
CELL_PARAMETERS angstrom
5 0 0
0 5 0
0 0 5
"""
MOLFILE = """

  2  1  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 O   0  5  0  0  0  0
    0.0000    0.0000    1.0000 H   0  0  0  0  0  0
  1  2  1  0
M  CHG  1   1  -1
M  END
"""
NWCHEM = """title "hydroxide"
charge -1
geometry units angstrom noautosym
O 0.0 0.0 0.0
H 0.0 0.0 1.0
end

dft
 mult 1
end
"""


@pytest.mark.parametrize(
    ("name", "text", "spin"),
    [("pw.in", PW_INPUT, None), ("hydroxide.mol", "\n" + MOLFILE, None), ("hydroxide.nwi", NWCHEM, 1)],
)
def test_inputs_of_codes_state_them_too(tmp_path, name, text, spin):
    path = tmp_path / name
    path.write_text(text)
    atoms = read_structure(path)
    assert (atoms.get_chemical_formula(), atoms.info["charge"], atoms.info.get("spin")) == ("HO", -1, spin)


@pytest.mark.parametrize(
    ("file_format", "lines"),
    [
        ("gaussian-out", " Charge = -1 Multiplicity = 3\n Charge=  7 electrons\n"),
        (
            "orca-output",
            " Total Charge           Charge          ....   -1\n Multiplicity           Mult            ....    3\n",
        ),
        ("nwchem-out", "          Charge           :    -1\n          Spin multiplicity:     3\n"),
        ("gamess-us-out", " CHARGE OF MOLECULE                           =   -1\n SPIN MULTIPLICITY    =    3\n"),
    ],
)
def test_outputs_of_codes_state_them_too(tmp_path, file_format, lines):
    (tmp_path / "output").write_text(f"header\n{lines}tail\n")
    assert code_statements(tmp_path / "output", file_format) == {"charge": -1, "multiplicity": 3}


def test_a_row_of_a_database_states_them_too(tmp_path):
    with connect(tmp_path / "rows.db") as rows:
        rows.write(molecule("NO2"), total_charge=-1, multiplicity=1)
        rows.write(molecule("NO2"), data={"charge": -1, "spin": 3})
    first, second = read_structures(tmp_path / "rows.db")
    assert (first.info["charge"], first.info["spin"]) == (-1, 1)
    assert (second.info["charge"], second.info["spin"]) == (-1, 3)


def test_labelled_frames_state_them_too(tmp_path):
    path = tmp_path / "labelled.extxyz"
    path.write_text(
        "2\nProperties=species:S:1:pos:R:3:REF_forces:R:3 REF_energy=-1.0 total_charge=-1.0 total_spin=1\n"
        "O 0 0 0 0 0 0\nD 0 0 0.97 0 0 0\n"
    )
    (frame,) = read_labelled(path).frames
    assert frame.atoms.info["charge"] == -1
    assert frame.atoms.info["spin"] == 1
    assert frame.forces_eV_per_A.shape == (2, 3)
    assert frame.atoms.get_masses()[1] == pytest.approx(2.014101778)


HEAVY_WATER = {
    "water.xyz": "3\nheavy water\nO 0 0 0\nD 0 0 0.96\nT 0.93 0 -0.24\n",
    "extra.xyz": "3\n\nO 0 0 0 -0.8\nd 0 0 0.96 0.4\nT 0.93 0 -0.24 0.4\n",
    "water.extxyz": (
        '3\nProperties=pos:R:3:species:S:1:move_mask:L:1 charge=0 spin=1 pbc="F F F"\n'
        "0 0 0 O T\n0 0 0.96 D T\n0.93 0 -0.24 T F\n"
    ),
    "POSCAR": "x\n1.0\n6 0 0\n0 6 0\n0 0 6\nO D T\n1 1 1\nCartesian\n0 0 0\n0 0 0.96\n0.93 0 -0.24\n",
    "old.vasp": "O D T\n1.0\n6 0 0\n0 6 0\n0 0 6\n1 1 1\nCartesian\n0 0 0\n0 0 0.96\n0.93 0 -0.24\n",
    "geometry.in": "atom 0 0 0 O\natom 0 0 0.96 D\natom 0.93 0 -0.24 T\n",
}


@pytest.mark.parametrize("name", HEAVY_WATER)
def test_deuterium_and_tritium_are_hydrogen_with_their_masses(tmp_path, name):
    path = tmp_path / name
    path.write_text(HEAVY_WATER[name])
    for atoms in (read_structure(path), *read_structures(path)):
        assert list(atoms.symbols) == ["O", "H", "H"]
        assert plain_atoms(atoms).get_masses() == pytest.approx([15.999, 2.014101778, 3.016049281], abs=1e-3)
        assert atoms.positions[2] == pytest.approx([0.93, 0, -0.24])
    if name == "water.extxyz":
        assert atoms.constraints[0].index.tolist() == [2]


@pytest.mark.parametrize(("symbol", "mass"), [("D", 2.014101778), ("T", 3.016049281)])
def test_isotopes_of_a_cif(tmp_path, symbol, mass):
    path = tmp_path / "hydride.cif"
    write(path, Atoms("LiH", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[3, 3, 3], pbc=True))
    path.write_text(path.read_text().replace("  H  ", f"  {symbol}  ").replace(" H1 ", f" {symbol}1 "))
    assert read_structure(path).get_masses()[1] == pytest.approx(mass)


def test_isotopes_in_later_frames_of_a_trajectory(tmp_path):
    path = tmp_path / "mixed.xyz"
    path.write_text("1\n\nO 0 0 0\n2\n\nO 0 0 0\nD 0 0 0.97\n1\n\nO 0 0 0\n")
    assert [atoms.has("masses") for atoms in read_frames(path)] == [False, True, False]


def test_isotopes_elsewhere_are_refused_and_say_where_they_are_read(tmp_path):
    path = tmp_path / "water.gen"
    path.write_text("2 C\nO D\n1 1 0 0 0\n2 2 0 0 0.97\n")
    with pytest.raises(InputError, match="D or T, hydrogen's isotopes, which are read from extended XYZ"):
        read_structure(path)


@pytest.mark.parametrize("column", ["mass", "masses"])
def test_a_column_of_masses_is_taken(tmp_path, column):
    path = tmp_path / "heavy.extxyz"
    path.write_text(f"2\nProperties=species:S:1:pos:R:3:{column}:R:1\nO 0 0 0 17.999\nH 0 0 0.97 2.014\n")
    assert plain_atoms(read_structure(path)).get_masses().tolist() == [17.999, 2.014]


@pytest.mark.parametrize("mass", ["0", "-1", "nan", "inf", "1e-27"])
def test_wrong_masses_are_refused(tmp_path, mass):
    path = tmp_path / "wrong.extxyz"
    path.write_text(f"2\nProperties=species:S:1:pos:R:3:masses:R:1\nO 0 0 0 15.999\nH 0 0 0.97 {mass}\n")
    with pytest.raises(InputError, match=r"received the mass .* for atom 1 \(H\), expected a number in u"):
        read_structure(path)


def test_moments_are_numbers_or_vectors(tmp_path):
    path = tmp_path / "moments.extxyz"
    path.write_text("2\nProperties=species:S:1:pos:R:3:initial_magmoms:R:3\nFe 0 0 0 0 1 2\nFe 0 0 2.4 0 0 -2\n")
    assert plain_atoms(read_structure(path)).get_initial_magnetic_moments().tolist() == [[0, 1, 2], [0, 0, -2]]
    path.write_text("2\nProperties=species:S:1:pos:R:3:initial_magmoms:R:1\nFe 0 0 0 nan\nFe 0 0 2.4 1\n")
    with pytest.raises(InputError, match="initial magnetic moments"):
        read_structure(path)


def test_numbers_of_numpy_become_plain_ones():
    atoms = as_stated(Atoms("NO2", info={"charge": np.int64(-1), "spin": np.array([1.0])}), "frame")
    assert (type(atoms.info["charge"]), type(atoms.info["spin"])) == (int, int)
