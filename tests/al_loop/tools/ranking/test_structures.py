"""What is compared with what, what is the same, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc100, fcc111, molecule
from ase.constraints import FixAtoms
from ase.io import write

from al_loop.errors import InputError
from al_loop.files.structures import read_structures
from al_loop.frames.plain_atoms import plain_atoms
from al_loop.tools.ranking.grouping import grouped, same_structure, surroundings
from al_loop.tools.ranking.path import check_ends, end_notes, read_ends
from al_loop.tools.ranking.settings import BarrierOptions, RankOptions, RelaxOptions


def same(one: Atoms, other: Atoms, tolerance: float = 0.1) -> bool:
    return same_structure(surroundings(one), surroundings(other), tolerance)


def on_aluminium(site: str) -> Atoms:
    atoms = fcc111("Al", (2, 2, 3), vacuum=6)
    add_adsorbate(atoms, "Al", 2.0, site)
    return atoms


def ordering(*gold: int) -> Atoms:
    atoms = bulk("Cu", a=3.85, cubic=True).repeat((2, 1, 1))
    atoms.numbers[list(gold)] = 79
    return atoms


def test_crystals_are_compared_per_unit_that_all_cells_hold() -> None:
    salt = bulk("NaCl", "rocksalt", a=5.6)
    (one,) = grouped([salt, salt.repeat((2, 1, 1)), salt.repeat((3, 1, 1))])
    assert (one.name, one.unit_atoms, one.members) == ("ClNa", 2, [0, 1, 2])
    (two,) = grouped([salt.repeat((2, 1, 1)), salt.repeat((2, 2, 1))])
    assert (two.name, two.units(salt.repeat((2, 2, 1)))) == ("Cl2Na2", 2)


def test_slabs_and_molecules_are_compared_with_their_own_size_only() -> None:
    thin, thick = fcc100("Al", (1, 1, 2), vacuum=5), fcc100("Al", (1, 1, 4), vacuum=5)
    assert [one.name for one in grouped([thin, thick, molecule("H2O"), molecule("H2O")])] == ["Al2", "Al4", "H2O"]


def test_charges_and_spins_are_never_compared() -> None:
    ion, triplet = molecule("O2"), molecule("O2")
    ion.info["charge"], triplet.info["spin"] = 1, 3
    assert [one.name for one in grouped([molecule("O2"), ion, triplet])] == ["O2", "O2, charge 1", "O2, spin 3"]


def test_the_same_crystal_in_other_cells_orientations_and_orders_is_one() -> None:
    turned = bulk("Cu").repeat((2, 2, 1))
    turned.rotate(33, "x", rotate_cell=True)
    assert same(bulk("Cu", cubic=True), turned, 1e-6)
    assert not same(bulk("Cu", cubic=True), bulk("Cu", a=3.7), 0.05)
    shuffled = on_aluminium("fcc")[np.random.default_rng(0).permutation(13)]
    shuffled.positions[:, :2] += 1.3
    shuffled.wrap()
    assert same(on_aluminium("fcc"), shuffled, 1e-6)


def test_sites_and_orderings_that_differ_are_told_apart() -> None:
    assert not same(on_aluminium("fcc"), on_aluminium("hcp"))
    layers = [ordering(0, 1, 4, 5), ordering(0, 2, 4, 6), ordering(0, 1, 2, 3)]
    assert same(layers[0], layers[1])  # the same L1_0 along another axis
    assert not same(layers[0], layers[2])
    rattled = ordering(0, 1, 4, 5)
    rattled.rattle(0.01, seed=1)
    assert same(layers[0], rattled)


def test_another_order_of_moments_is_another_structure() -> None:
    up, down = bulk("Fe", cubic=True), bulk("Fe", cubic=True)
    up.set_initial_magnetic_moments([2.0, 2.0])
    down.set_initial_magnetic_moments([2.0, -2.0])
    assert same(up, up.copy())
    assert not same(up, down)


def ends() -> tuple[Atoms, Atoms]:
    initial = fcc100("Cu", (2, 2, 2), vacuum=5)
    add_adsorbate(initial, "Au", 1.8, "hollow")
    initial.set_constraint(FixAtoms([0, 1]))
    final = initial.copy()
    final.positions[-1, 0] += 2.5
    return initial, final


def test_ends_of_one_path_are_accepted() -> None:
    check_ends(*ends())


def test_an_atom_may_leave_through_the_cells_boundary() -> None:
    initial, final = ends()
    final.positions[-1] += initial.cell[0]
    check_ends(initial, final)


def other_atoms(final: Atoms) -> Atoms:
    return final[:-1]


def other_order(final: Atoms) -> Atoms:
    return final[[8, *range(8)]]


def traded(final: Atoms) -> Atoms:
    return final[[4, 5, 6, 7, 0, 1, 2, 3, 8]]


def other_cell(final: Atoms) -> Atoms:
    final.cell[2, 2] += 1.0
    return final


def other_charge(final: Atoms) -> Atoms:
    final.info["charge"] = 1
    return final


def other_constraint(final: Atoms) -> Atoms:
    final.set_constraint(FixAtoms([0]))
    return final


def moved_fixed(final: Atoms) -> Atoms:
    final.set_constraint()
    final.positions[1] += 0.2
    final.set_constraint(FixAtoms([0, 1]))
    return final


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_atoms, "INITIAL is AuCu8 and FINAL Cu8"),
        (other_order, "another order: atom 0 is Cu in INITIAL and Au in FINAL"),
        (traded, r"equal atoms in another order: atoms \[0, 1, 2, 3, 4, 5, 6, 7\]"),
        (other_cell, "different cells"),
        (other_charge, "INITIAL has charge None and FINAL 1"),
        (other_constraint, "fix different atoms"),
        (moved_fixed, "atom 1 is fixed, but FINAL has it 0.346 Å away"),
    ],
)
def test_ends_that_do_not_belong_together_are_refused(change, words: str) -> None:
    initial, final = ends()
    if change is traded:
        initial.set_constraint()
        final.set_constraint()
    with pytest.raises(InputError, match=words):
        check_ends(initial, change(final))


def test_a_file_without_structures_is_refused(tmp_path: Path) -> None:
    for name, text in (("empty.extxyz", ""), ("noise.extxyz", "not a structure\n")):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=name):
            read_structures(tmp_path / name)
    with pytest.raises(InputError, match="does not exist"):
        read_structures(tmp_path / "nowhere.extxyz")
    write(tmp_path / "hollow.extxyz", [molecule("H2O"), Atoms("X")])
    with pytest.raises(InputError, match=r"hollow.extxyz, frame 1: labels that do not name an element: X"):
        read_structures(tmp_path / "hollow.extxyz")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RankOptions(top=0), "--top: received 0, expected at least 1"),
        (lambda: RankOptions(confidence=0.5), "--confidence: received 0.5"),
        (lambda: RankOptions(resolution_eV=float("nan")), "the resolution"),
        (lambda: RelaxOptions(force_tolerance_eV_per_A=0), "--fmax"),
        (lambda: RelaxOptions(steps=0), "--steps"),
        (lambda: BarrierOptions(images=0), "--images: received 0, expected at least 1"),
        (lambda: BarrierOptions(relax=RelaxOptions(cell=True)), "fixed cell"),
    ],
)
def test_settings_that_mean_nothing_are_refused(make, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


def test_several_structures_at_an_end_are_said(tmp_path: Path) -> None:
    initial, final = (plain_atoms(on_aluminium(site)) for site in ("fcc", "hcp"))
    write(tmp_path / "initial.extxyz", [initial, initial])
    write(tmp_path / "final.extxyz", final)
    ends = tmp_path / "initial.extxyz", tmp_path / "final.extxyz"
    assert len(read_ends(*ends)) == 2
    (note,) = end_notes(*ends)
    assert note.startswith("initial.extxyz holds 2 frames; the last one (frame 1) is used; write the one")
