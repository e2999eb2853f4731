import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

from dft_interfaces.engines.spin_starts import lowest, spin_starts, unpolarised_remark
from dft_interfaces.label import Failure, Label, LabelStatus
from dft_interfaces.structure import CannotCalculateError

ALL = ("ferromagnetic", "antiferromagnetic", "none")


def _bare(*arguments, **keywords):
    atoms = bulk(*arguments, **keywords)
    atoms.set_initial_magnetic_moments(None)
    return atoms


def _pairs(atoms, moments, shortest, longest):
    """Products of the signs of all magnetic pairs at a distance between two bounds, Å."""
    first, second, distances = neighbor_list("ijd", atoms, longest)
    signs = np.sign(moments)
    products = (signs[first] * signs[second])[distances > shortest]
    return products[products != 0]


def test_bcc_iron_alternates_between_corner_and_centre():
    starts = spin_starts(_bare("Fe", cubic=True), ALL)
    assert starts["ferromagnetic"].tolist() == [4.0, 4.0]  # of the free atom
    assert starts["antiferromagnetic"].tolist() == [4.0, -4.0]
    assert starts["none"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("rattle_A", [0.0, 0.1, 0.15])
def test_every_nearest_neighbour_differs_in_a_hot_supercell(rattle_A):
    atoms = _bare("Fe", cubic=True) * (3, 4, 4)
    perfect = atoms.copy()
    atoms.rattle(rattle_A, seed=3)
    moments = spin_starts(atoms, ALL)["antiferromagnetic"]
    assert (_pairs(perfect, moments, 0.0, 2.6) == -1).all()


@pytest.mark.parametrize("rattle_A", [0.0, 0.05, 0.15])
def test_nickel_oxide_alternates_across_oxygen(rattle_A):
    atoms = _bare("NiO", "rocksalt", a=4.18, cubic=True) * (2, 2, 2)
    perfect = atoms.copy()
    atoms.rattle(rattle_A, seed=3)
    moments = spin_starts(atoms, ALL)["antiferromagnetic"]
    assert (_pairs(perfect, moments, 4.1, 4.3) == -1).all()
    assert moments.sum() == 0
    assert set(np.abs(moments[atoms.symbols == "O"])) == {0.0}


def test_the_small_cell_of_nickel_oxide_that_holds_the_order():
    cell = 4.18 * np.array([[1, 0.5, 0.5], [0.5, 1, 0.5], [0.5, 0.5, 1]])
    atoms = Atoms("NiONiO", cell=cell, pbc=True, scaled_positions=[[x, x, x] for x in (0, 0.25, 0.5, 0.75)])
    assert spin_starts(atoms, ("antiferromagnetic",))["antiferromagnetic"].tolist() == [2.0, 0.0, -2.0, 0.0]


def test_triangles_end_balanced():
    moments = spin_starts(_bare("Ni", cubic=True), ALL)["antiferromagnetic"]
    assert sorted(np.sign(moments)) == [-1, -1, 1, 1]


def test_given_moments_set_the_sizes_and_the_elements():
    atoms = _bare("Si", cubic=False)
    atoms.set_initial_magnetic_moments([0.5, -0.25])
    starts = spin_starts(atoms, ("given", *ALL))
    assert starts["given"].tolist() == [0.5, -0.25]
    assert starts["ferromagnetic"].tolist() == [0.5, 0.25]
    assert "antiferromagnetic" not in starts  # that is what was given


def test_what_has_no_magnetic_atoms_is_calculated_once():
    assert list(spin_starts(_bare("Si"), ("given", *ALL))) == ["given"]


def test_a_cell_too_small_for_the_order_is_refused():
    assert list(spin_starts(_bare("Fe"), ALL)) == ["ferromagnetic", "none"]
    with pytest.raises(CannotCalculateError, match="repeat the cell"):
        spin_starts(_bare("Fe"), ("antiferromagnetic",))


def test_vectors_are_refused():
    atoms = _bare("Fe")
    atoms.set_initial_magnetic_moments([[0.0, 0.0, 2.0]])
    with pytest.raises(CannotCalculateError, match="non-collinear"):
        spin_starts(atoms, ("given",))


def test_a_remark_on_iron_without_moments():
    atoms = _bare("Fe")
    assert "Fe" in unpolarised_remark(atoms)
    atoms.set_initial_magnetic_moments([2.0])
    assert unpolarised_remark(atoms) == ""
    assert unpolarised_remark(_bare("Si")) == ""


def test_a_remark_on_a_stated_doublet_without_moments():
    atoms = Atoms("H", info={"spin": 2})
    assert "spin multiplicity 2 is stated" in unpolarised_remark(atoms)
    atoms.set_initial_magnetic_moments([1.0])
    assert unpolarised_remark(atoms) == ""


def _label(energy_eV, cost_s=1.0):
    if energy_eV is None:
        return Label(LabelStatus.UNCONVERGED, "level", cost_s=cost_s, message="log", failure=Failure.UNCONVERGED)
    return Label(LabelStatus.CONVERGED, "level", energy_eV=energy_eV, cost_s=cost_s)


def test_the_lowest_is_kept_and_all_are_on_record():
    label = lowest(_label, {"given": -1.0, "ferromagnetic": -1.5, "none": None}, "moments")
    assert label.energy_eV == -1.5
    assert label.cost_s == 3.0
    assert "moments ferromagnetic kept: 0.500 eV below given" in label.message
    assert [(a.what, a.status.value, a.energy_eV) for a in label.attempts] == [
        ("moments given", "converged", -1.0),
        ("moments ferromagnetic", "converged", -1.5),
        ("moments none", "unconverged", None),
    ]
    assert label.attempts[2].failure is Failure.UNCONVERGED


def test_equal_states_keep_the_first_start():
    label = lowest(_label, {"3": -1.0, "1": -1.0005}, "multiplicity")
    assert label.energy_eV == -1.0
    assert "multiplicity 3 kept, lowest of 3, 1" in label.message


def test_a_start_that_did_not_converge_was_not_compared():
    label = lowest(_label, {"1": -1.0, "3": None, "5": -0.5}, "multiplicity")
    assert label.message == "multiplicity 1 kept, lowest of 1, 5; 3 did not converge"


def test_a_first_start_that_fails_is_named_and_none_is_a_failure():
    label = lowest(_label, {"given": None, "none": -1.0}, "moments")
    assert label.energy_eV == -1.0
    assert "given did not converge" in label.message
    failed = lowest(_label, {"given": None, "none": None}, "moments")
    assert (failed.status, failed.failure) == (LabelStatus.UNCONVERGED, Failure.UNCONVERGED)
    assert len(failed.attempts) == 2
    assert failed.cost_s == 2.0


def test_one_start_is_the_label_itself():
    label = _label(-1.0)
    assert lowest(lambda _: label, {"given": None}, "moments") is label
