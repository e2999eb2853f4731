"""Disordered crystals are refused naming their sites, or ordered on request."""

import numpy as np
import pytest
from ase.geometry import get_distances

from al_loop.errors import InputError
from al_loop.files.structures import read_structure, read_structures
from al_loop.structures.ordering import ordered_cells

HEAD = """data_x
_cell_length_a {0}
_cell_length_b {0}
_cell_length_c {0}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M '{1}'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
"""
ALLOY = """Cu1 Cu 0 0 0 0.6
Ni1 Ni 0 0 0 0.4
Cu2 Cu 0.5 0.5 0 0.6
Ni2 Ni 0.5 0.5 0 0.4
Pt1 Pt 0.5 0 0.5 1.0
Pt2 Pt 0 0.5 0.5 0.5
"""
OXIDE = "Li1 Li+ 0 0 0 0.5\nTi1 Ti3+ 0 0 0 0.5\nO1 O2- 0.5 0.5 0.5 1\n"


@pytest.fixture
def cif(tmp_path):
    def write(rows, a=3.9, group="P 1", column="_atom_site_occupancy"):
        path = tmp_path / "crystal.cif"
        path.write_text(HEAD.format(a, group) + (f"{column}\n" if column else "") + rows)
        return path

    return write


@pytest.mark.parametrize(
    ("rows", "column", "expected"),
    [
        (
            ALLOY,
            "_atom_site_occupancy",
            r"site \(0, 0, 0\) holds Cu 0.6 \(Cu1\), Ni 0.4 \(Ni1\); .*; site \(0, 0.5, 0.5\) holds Pt 0.5 \(Pt2\)",
        ),
        ("Cu1 Cu 0 0 0 0.75(2)\nPt1 Pt 0.5 0.5 0.5 1\n", "_atom_site_occupancy", r"holds Cu 0.75 \(Cu1\)"),
        ("O1 O 0 0 0 0.5\nO2 O 0.1 0 0 0.5\n", "_atom_site_occupancy", r"O 0.5 \(O1\).*O 0.5 \(O2\)"),
        ("Cu1 Cu 0 0 0\nNi1 Ni 0 0 0\n", "", r"site \(0, 0, 0\) holds Cu 1 \(Cu1\), Ni 1 \(Ni1\)"),
        ("Cu1 Cu 0 0 0\nCu2 Cu 1 0 0\n", "", r"holds Cu 1 \(Cu1\), Cu 1 \(Cu2\)"),
        ("O1 O 0 0 0 1\nO2 O 0.1 0 0 2\n", "_atom_site_disorder_group", r"site O1 \(O\) is of disorder group 1"),
    ],
)
def test_sites_that_are_no_whole_atoms_are_named(cif, rows, column, expected):
    path = cif(rows, column=column)
    for read in (read_structure, read_structures):
        with pytest.raises(InputError, match=f"is disordered: .*{expected}.*ordered: N"):
            read(path)


@pytest.mark.parametrize(
    "rows",
    [
        "Cu1 Cu 0 0 0 0.5\nCu2 Cu 0 0 0 0.5\nPt1 Pt 0.5 0.5 0.5 ?\n",
        "Cu1 Cu 0 0 0 .\nPt1 Pt 0.5 0.5 0.5 1.000(3)\n",
        "Cu1 Cu 0 0 0 0.998\nPt1 Pt 0.5 0.5 0.5 1\n",
    ],
)
def test_full_sites_are_read(cif, rows):
    assert read_structure(cif(rows)).get_chemical_formula() == "CuPt"


def test_symmetry_brings_atoms_onto_one_site(cif):
    with pytest.raises(InputError, match=r"Cu 1 \(Cu1\), Ni 1 \(Ni1\)"):
        read_structure(cif("Cu1 Cu 0 0 0\nNi1 Ni 0.5 0.5 0\n", group="F m -3 m", column=""))


def test_occupancies_of_a_pdb_file(tmp_path):
    path = tmp_path / "water.pdb"
    atom = "HETATM{:5d}  {:3s} HOH A   1    {:8.3f}   0.000   0.000  {:4.2f}  0.00           {:s}  \n"
    path.write_text(atom.format(1, "O", 0, 0.5, "O") + atom.format(2, "H1", 0.96, 1, "H") + "END\n")
    with pytest.raises(InputError, match=r"partial occupancies at atom 0 \(O\): 0.5"):
        read_structure(path)
    path.write_text(atom.format(1, "O", 0, 0, "O") + atom.format(2, "H1", 0.96, 0, "H") + "END\n")
    assert len(read_structure(path)) == 2


def test_ordered_cells_hold_the_occupancies_and_differ(cif):
    path = cif(OXIDE, a=4.1, group="F m -3 m")
    cells = ordered_cells(path, (2, 2, 1), 4)
    assert [cell.get_chemical_formula() for cell in cells] == ["Li8O16Ti8"] * 4
    assert cells[0].cell.lengths().tolist() == pytest.approx([8.2, 8.2, 4.1])
    patterns = {tuple(sorted(_neighbours(cell))) for cell in cells}
    assert len(patterns) == 4
    assert all(cell.get_all_distances(mic=True)[np.triu_indices(32, 1)].min() > 2.0 for cell in cells)
    again = ordered_cells(path, (2, 2, 1), 4)
    assert all((one.positions == two.positions).all() for one, two in zip(cells, again, strict=True))
    assert _electrostatic_eV(cells) == sorted(_electrostatic_eV(cells))


def test_an_alloy_has_no_oxidation_states_and_is_drawn(cif):
    cells = ordered_cells(cif(ALLOY), (5, 2, 1), 2)
    assert [cell.get_chemical_formula() for cell in cells] == ["Cu12Ni8Pt15"] * 2
    places = [sorted(map(str, zip(cell.symbols, cell.positions.round(3).tolist(), strict=True))) for cell in cells]
    assert places[0] != places[1]


def test_split_sites_get_one_atom(cif):
    """Two half-occupied sites 0.6 Å apart: exactly one of them is occupied."""
    rows = "Na1 Na 0 0 0 1\nO1 O 0.5 0.43 0.5 0.5\nO2 O 0.5 0.57 0.5 0.5\n"
    for cell in ordered_cells(cif(rows, a=4.3), (2, 2, 1), 3):
        assert cell.get_chemical_formula() == "Na4O4"
        assert cell.get_all_distances(mic=True)[np.triu_indices(8, 1)].min() > 1.5


@pytest.mark.parametrize(
    ("rows", "supercell", "number", "expected"),
    [
        (ALLOY, (1, 1, 1), 2, r"supercell: received \[1, 1, 1\].*1.2 Cu, 0.8 Ni, 0.5 Pt.*use supercell: \[5, 2, 1\]"),
        ("Cu1 Cu 0 0 0 1\n", (1, 1, 1), 2, "ordered: received 2, but crystal.cif is ordered; remove the key"),
        (ALLOY.replace("0.6", "0.5").replace("0.4", "0.5"), (1, 1, 2), 99, r"only \d+ different ordered cell"),
        ("Cu1 Cu 0 0 0 0.02\n", (1, 1, 1), 1, "round the occupancies in the file"),
    ],
)
def test_what_cannot_be_ordered_says_why(cif, rows, supercell, number, expected):
    with pytest.raises(InputError, match=expected):
        ordered_cells(cif(rows), supercell, number)


def test_only_a_cif_is_ordered(tmp_path):
    (tmp_path / "alloy.xyz").write_text("1\n\nCu 0 0 0\n")
    with pytest.raises(InputError, match=r"ordered: received alloy.xyz, expected a CIF"):
        ordered_cells(tmp_path / "alloy.xyz", (1, 1, 1), 1)


def _neighbours(cell):
    """For each lithium the number of lithium atoms at the shortest distance of metals."""
    lithium = cell[cell.symbols == "Li"]
    lengths = get_distances(lithium.positions, cell=cell.cell, pbc=True)[1]
    return np.round(np.sort(lengths, axis=1), 3).sum(axis=1).tolist()


def _electrostatic_eV(cells):
    from pymatgen.analysis.ewald import EwaldSummation
    from pymatgen.core import Structure

    charges = {"Li": 1, "Ti": 3, "O": -2}
    energies = []
    for cell in cells:
        species = {symbol: {f"{symbol}{abs(q)}{'+' if q > 0 else '-'}": 1} for symbol, q in charges.items()}
        structure = Structure(cell.cell.array, [species[s] for s in cell.symbols], cell.get_scaled_positions())
        energies.append(round(EwaldSummation(structure).total_energy, 3))
    return energies
