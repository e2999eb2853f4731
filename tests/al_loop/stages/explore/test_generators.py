"""Results of generators, and their errors."""

import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule
from ase.io import write
from pydantic import TypeAdapter

from al_loop.config.generator_settings import GeneratorSettings
from al_loop.errors import InputError
from al_loop.structures.generators import apply_variant
from dft_interfaces.geometry.vacuum import gaps_A, vacuum_axes

SETTINGS = TypeAdapter(tuple[GeneratorSettings, ...])
SURFACE = {"kind": "surface", "miller": (1, 1, 1), "layers": 3}
SLAB = {**SURFACE, "repeats": (2, 2)}


def make(atoms, *generators, seed=0):
    return apply_variant(SETTINGS.validate_python(generators), atoms, np.random.default_rng(seed))


def copper():
    return bulk("Cu", cubic=True)


def test_nothing_is_the_structure_itself():
    assert make(copper()) == copper()


def test_rattle_displaces_by_its_width():
    cell = copper() * (4, 4, 4)
    moved = make(cell, {"kind": "rattle", "displacement_A": 0.1})
    assert (moved.positions - cell.positions).std() == pytest.approx(0.1, rel=0.1)


def test_strain_is_the_symmetric_tensor_it_says():
    strained = make(copper(), {"kind": "strain", "isotropic": 0.02, "components": (0.01, 0, 0, 0, 0, 0.03)})
    a = copper().cell.lengths()[0]
    expected = a * np.array([[1.03, 0.03, 0], [0.03, 1.02, 0], [0, 0, 1.02]])
    np.testing.assert_allclose(strained.cell.array, expected)
    np.testing.assert_allclose(strained.get_scaled_positions(), copper().get_scaled_positions(), atol=1e-12)


def test_a_slab_may_be_strained_in_its_plane():
    slab = make(copper(), SLAB)
    strained = make(slab, {"kind": "strain", "components": (0.02, -0.01, 0, 0, 0, 0)})
    np.testing.assert_allclose(strained.cell.array[2], slab.cell.array[2])
    assert strained.cell.array[0, 0] == pytest.approx(1.02 * slab.cell.array[0, 0])


def test_supercell_vacancy_and_substitution():
    built = make(
        copper(),
        {"kind": "supercell", "repeats": (2, 1, 1)},
        {"kind": "vacancy", "element": "Cu", "count": 2},
        {"kind": "substitution", "element": "Cu", "by": "Au"},
    )
    assert built.get_chemical_formula() == "AuCu5"


def test_random_sites_are_drawn_by_the_trajectorys_own_generator():
    vacancy = {"kind": "vacancy", "element": "Cu"}
    cell = copper() * (3, 3, 3)
    first, same, other = (make(cell, vacancy, seed=seed).positions for seed in (1, 1, 2))
    assert (first == same).all()
    assert not (first == other).all()


def test_a_surface_is_ases():
    slab = make(copper(), SURFACE)
    reference = fcc111("Cu", (1, 1, 3), a=3.61, vacuum=8)
    planes, of_reference = (np.unique(np.round(atoms.positions[:, 2], 6)) for atoms in (slab, reference))
    np.testing.assert_allclose(planes, of_reference, atol=1e-5)
    area, per_atom = (np.linalg.norm(np.cross(*atoms.cell.array[:2])) for atoms in (slab, reference))
    assert area / per_atom == pytest.approx(len(slab) / len(reference))
    assert slab.pbc.all()
    assert gaps_A(slab)[2] == pytest.approx(16)
    assert vacuum_axes(slab) == ["c"]
    assert not make(copper(), {**SURFACE, "periodic": False}).pbc[2]


def test_an_interface_holds_both_slabs_at_their_distance(tmp_path):
    write(tmp_path / "ag.xyz", bulk("Ag", cubic=True))
    joined = make(
        bulk("Au", cubic=True),
        {"kind": "surface", "miller": (0, 0, 1), "layers": 2},
        {"kind": "interface", "file": tmp_path / "ag.xyz", "miller": (0, 0, 1), "gap_A": 2.2},
    )
    assert joined.get_chemical_formula() == "Ag8Au8"
    gold, silver = (joined.positions[joined.symbols == symbol, 2] for symbol in ("Au", "Ag"))
    assert silver.min() - gold.max() == pytest.approx(2.2)
    assert gold.min() + joined.cell.lengths()[2] - silver.max() == pytest.approx(2.2)
    np.testing.assert_allclose(joined.cell.lengths()[:2], bulk("Au", cubic=True).cell.lengths()[:2])
    assert vacuum_axes(joined) == []


def test_an_interface_below_vacuum(tmp_path):
    write(tmp_path / "ag.xyz", bulk("Ag", cubic=True))
    joined = make(
        bulk("Au", cubic=True),
        {"kind": "surface", "miller": (0, 0, 1), "layers": 1},
        {"kind": "interface", "file": tmp_path / "ag.xyz", "miller": (0, 0, 1), "layers": 1, "vacuum_A": 12},
    )
    assert gaps_A(joined)[2] == pytest.approx(14.5)


def test_molecules_in_a_box_keep_their_shape_and_distance():
    boxed = make(molecule("H2O"), {"kind": "box", "edge_A": 9, "copies": 5, "min_distance_A": 2.0})
    assert boxed.get_chemical_formula() == "H10O5"
    assert boxed.pbc.all()
    distances = boxed.get_all_distances(mic=True)
    same = np.equal.outer(np.arange(15) // 3, np.arange(15) // 3)
    assert distances[~same].min() >= 2.0
    for copy in range(5):
        part = boxed[3 * copy : 3 * copy + 3]
        np.testing.assert_allclose(
            np.sort(part.get_all_distances(mic=True).ravel()), np.sort(molecule("H2O").get_all_distances().ravel())
        )


def test_one_molecule_sits_in_the_middle_of_its_box():
    boxed = make(molecule("CH4"), {"kind": "box", "edge_A": 8, "periodic": False})
    assert not boxed.pbc.any()
    np.testing.assert_allclose((boxed.positions.min(0) + boxed.positions.max(0)) / 2, 4)


def test_a_molecule_stands_on_a_surface_by_its_anchor():
    slab = make(copper(), SLAB)
    covered = make(slab, {"kind": "adsorbate", "molecule": "CO", "anchor": 1, "height_A": 1.9})
    oxygen, carbon = covered.positions[-2:]
    top = slab.positions[slab.positions[:, 2].argmax()]
    np.testing.assert_allclose(carbon - top, [0, 0, 1.9], atol=1e-9)
    np.testing.assert_allclose((oxygen - carbon)[:2], 0, atol=1e-6)
    assert oxygen[2] > carbon[2]
    moved = make(slab, {"kind": "adsorbate", "molecule": "H", "height_A": 1.5, "position": (0.5, 0.25)})
    np.testing.assert_allclose(moved.get_scaled_positions()[-1, :2], (0.5, 0.25))


def test_charge_spin_and_moments_carry_through():
    iron = bulk("Fe", cubic=True)
    iron.set_initial_magnetic_moments([2.2, -2.2])
    iron.info.update(charge=1, spin=2)
    covered = make(
        iron,
        {"kind": "supercell", "repeats": (1, 1, 2)},
        {"kind": "surface", "miller": (1, 0, 0), "layers": 1},
        {"kind": "adsorbate", "molecule": "O", "height_A": 1.8},
    )
    assert covered.info == {"charge": 1, "spin": 2}
    assert sorted(covered.get_initial_magnetic_moments()) == [-2.2, -2.2, 0, 2.2, 2.2]
    assert set(covered.arrays) == {"numbers", "positions", "initial_magmoms"}


WRONG = [
    (molecule("H2O"), {"kind": "strain", "isotropic": 0.1}, "not periodic or holds vacuum"),
    (molecule("H2O"), {"kind": "supercell", "repeats": (2, 1, 1)}, "not periodic along a"),
    (molecule("H2O"), {"kind": "surface", "miller": (1, 0, 0), "layers": 1}, "cuts a bulk"),
    (molecule("H2O"), {"kind": "adsorbate", "molecule": "H", "height_A": 1}, "no slab"),
    (molecule("C6H6"), {"kind": "box", "edge_A": 5}, "edge_A: received 5, but the molecule spans 5.0 Å"),
    (molecule("H2O"), {"kind": "box", "edge_A": 5, "copies": 40}, "do not fit"),
    (copper(), {"kind": "box", "edge_A": 9}, "is periodic"),
    (copper(), {"kind": "vacancy", "element": "Ag"}, "requires 1 atom of Ag, but the structure Cu4 holds 0"),
    (copper(), {"kind": "vacancy", "element": "Cu", "count": 4}, "removes all 4 atoms"),
    (copper(), {"kind": "substitution", "element": "Cu", "by": "Au", "count": 5}, "requires 5 atoms of Cu"),
]


@pytest.mark.parametrize(
    "generator",
    [
        {"kind": "supercell", "repeats": (1000, 1000, 1000)},
        {"kind": "surface", "miller": (1, 1, 1), "layers": 1_000_000},
        {"kind": "surface", "miller": (1, 1, 1), "layers": 1, "repeats": (1000, 1000)},
    ],
)
def test_a_slip_of_the_keyboard_does_not_fill_the_memory(generator):
    with pytest.raises(InputError, match=r"would make [\d,]+ atoms, at most 100,000"):
        make(copper(), generator)


def test_an_exchange_for_the_same_element_is_refused():
    with pytest.raises(ValueError, match="expected two different elements"):
        make(copper(), {"kind": "substitution", "element": "Cu", "by": "Cu"})


@pytest.mark.parametrize(("atoms", "generator", "message"), WRONG)
def test_a_generator_that_does_not_fit_is_refused(atoms, generator, message):
    with pytest.raises(InputError, match=r"^\[0\] \(" + generator["kind"]) as raised:
        make(atoms, generator)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        ({"kind": "strain", "isotropic": 0.02}, "the direction c"),
        ({"kind": "adsorbate", "molecule": "XYZ", "height_A": 2}, "neither an element nor in ASE's g2"),
        ({"kind": "adsorbate", "molecule": "CO", "height_A": 2, "anchor": 5}, "has the atoms 0 to 1"),
        ({"kind": "adsorbate", "molecule": "CO", "height_A": 0.3}, "comes within"),
    ],
)
def test_what_does_not_fit_on_a_slab(generator, message):
    slab = make(copper(), SLAB)
    with pytest.raises(InputError, match=message):
        make(slab, generator)


def test_an_adsorbate_needs_room_and_an_interface_a_match(tmp_path):
    slab = make(copper(), {**SURFACE, "vacuum_A": 2})
    with pytest.raises(InputError, match=r"of vacuum above the slab, which has 4\.0 Å"):
        make(slab, {"kind": "adsorbate", "molecule": "CO", "height_A": 2})
    write(tmp_path / "na.xyz", bulk("Na", cubic=True, a=4.2, crystalstructure="bcc"))
    with pytest.raises(InputError, match="do not match"):
        make(slab, {"kind": "interface", "file": tmp_path / "na.xyz", "miller": (0, 0, 1)})
    with pytest.raises(InputError, match="is no slab"):
        make(molecule("CO"), {"kind": "interface", "file": tmp_path / "na.xyz", "miller": (0, 0, 1)})
