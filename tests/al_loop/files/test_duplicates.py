"""One geometry, one label: merged where labels are equal, refused where they are not, told where both are near."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.io import write
from ase.units import GPa

from al_loop.errors import InputError
from al_loop.files.labelled import read_labelled
from al_loop.files.labels.labelled_frames import frame_of_file, with_label
from al_loop.files.labels.sorting import without_repeats
from al_loop.records import Frame

NONE = float("nan")


def labelled(atoms: Atoms, where: str, energy_off_eV: float = 0.0, force_off_eV_per_A: float = 0.0) -> Frame:
    """A frame with the label of EMT, off by so much."""
    asked = atoms.copy()
    asked.calc = EMT()
    forces = asked.get_forces() + [[force_off_eV_per_A, 0, 0]] * len(atoms)
    stress = asked.get_stress() if atoms.pbc.all() else np.full(6, NONE)
    return frame_of_file(atoms, asked.get_potential_energy() + energy_off_eV, forces, stress, where)


def copper(seed: int = 0) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=seed)
    return atoms


def slab() -> Atoms:
    atoms = fcc111("Cu", (2, 2, 3), vacuum=5.0)
    atoms.pbc = (True, True, False)
    atoms.rattle(0.1, seed=1)
    return atoms


def water() -> Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    return atoms


def in_another_order(atoms: Atoms) -> Atoms:
    return atoms[np.random.default_rng(0).permutation(len(atoms))]


def in_another_image(atoms: Atoms) -> Atoms:
    moved = in_another_order(atoms)
    moved.positions += (moved.pbc * [[1, 0, -2]]) @ moved.cell.array
    moved.wrap(pbc=moved.pbc, center=0.3)
    return moved


def shifted_where_it_is_free(atoms: Atoms) -> Atoms:
    moved = in_another_order(atoms)
    moved.positions += np.where(atoms.pbc, 0.0, 3.0)
    return moved


def with_noise(atoms: Atoms) -> Atoms:
    moved = atoms.copy()
    moved.positions += 3e-5 * np.random.default_rng(1).choice([-1, 1], size=(len(atoms), 3))
    return moved


SAME = [lambda atoms: atoms.copy(), in_another_order, in_another_image, shifted_where_it_is_free, with_noise]


@pytest.mark.parametrize("make", [copper, slab, water])
@pytest.mark.parametrize("again", SAME)
def test_equal_labels_of_one_geometry_are_merged_and_different_ones_refused(make, again) -> None:
    first, other = make(), again(make())
    frames = [labelled(first, "a, frame 0"), labelled(copper(7), "a, frame 1"), labelled(other, "b, frame 4")]
    kept, notes = without_repeats(frames)
    assert [frame.where for frame in kept] == ["a, frame 0", "a, frame 1"]
    assert kept[0].forces_eV_per_A is frames[0].forces_eV_per_A
    assert len(notes) == 1
    assert "1 frame repeats another one with equal labels and was taken once (b, frame 4 is a, frame 0)" in notes[0]
    for off in ({"energy_off_eV": 0.002 * len(first)}, {"force_off_eV_per_A": 0.02}):
        with pytest.raises(InputError, match=r"a, frame 0 and b, frame 4 are the same geometry with") as refused:
            without_repeats([*frames[:2], labelled(other, "b, frame 4", **off)])
        assert ("energies" in str(refused.value)) == ("energy_off_eV" in off)
        assert ("forces" in str(refused.value)) == ("force_off_eV_per_A" in off)


def test_what_two_calculations_of_one_geometry_may_differ_by() -> None:
    first = labelled(copper(), "a")
    for change, equal in (
        ({"energy_eV": first.energy_eV + 4 * 0.00099}, True),
        ({"energy_eV": first.energy_eV - 4 * 0.00101}, False),
        ({"forces_eV_per_A": first.forces_eV_per_A + np.array([0.003, 0.0039, 0])}, True),
        ({"forces_eV_per_A": first.forces_eV_per_A + np.array([0.003, 0.0041, 0])}, False),
        ({"stress_eV_per_A3": first.stress_eV_per_A3 + 0.09 * GPa * np.eye(6)[3]}, True),
        ({"stress_eV_per_A3": first.stress_eV_per_A3 + 0.11 * GPa * np.eye(6)[3]}, False),
    ):
        pair = [first, replace(with_label(first, **change), where="b")]
        if equal:
            assert len(without_repeats(pair)[0]) == 1, change
        else:
            with pytest.raises(InputError, match=r"1 meV/atom, 5 meV/Å and 0\.1 GPa"):
                without_repeats(pair)


def test_another_charge_spin_or_moment_is_no_contradiction() -> None:
    frames = [labelled(copper(), "neutral")]
    for number, (key, value) in enumerate((("charge", 1), ("spin", 3), ("moments", [1.0, 0, 0, 0]))):
        other = copper()
        if key == "moments":
            other.set_initial_magnetic_moments(value)
        else:
            other.info[key] = value
        frames.append(labelled(other, key, energy_off_eV=1.0 + number))
    kept, notes = without_repeats(frames)
    assert (len(kept), notes) == (4, [])


def test_labels_that_each_hold_a_part_become_one_in_the_order_of_the_first() -> None:
    whole = labelled(copper(), "whole")
    energy = replace(with_label(whole, forces_eV_per_A=None, stress_eV_per_A3=None), where="energy")
    turned = labelled(in_another_order(copper()), "forces")
    forces = with_label(turned, energy_eV=None)
    (kept,), notes = without_repeats([energy, forces])
    assert kept.energy_eV == whole.energy_eV
    np.testing.assert_allclose(kept.forces_eV_per_A, whole.forces_eV_per_A, atol=1e-9)
    np.testing.assert_allclose(kept.stress_eV_per_A3, whole.stress_eV_per_A3, atol=1e-12)
    assert "forces is energy" in notes[0]
    assert "taken as one frame" in notes[0]
    (kept,), notes = without_repeats([whole, energy])
    assert kept.forces_eV_per_A is whole.forces_eV_per_A
    assert "taken once" in notes[0]


def test_labels_of_almost_one_geometry_are_told_only_where_the_distance_does_not_explain_them() -> None:
    near = copper()
    near.positions[2] += [0.004, 0, 0]
    honest = [labelled(copper(), "a, frame 0"), labelled(near, "b, frame 1")]
    kept, notes = without_repeats(honest)
    assert (len(kept), notes) == (2, [])
    for off in ({"energy_off_eV": 0.2}, {"force_off_eV_per_A": 1.5}):
        kept, notes = without_repeats([honest[0], labelled(near, "b, frame 1", **off)])
        assert len(kept) == 2
        assert "a, frame 0 and b, frame 1 (0.004 Å apart" in notes[0]
    far = copper()
    far.positions[2] += [0.03, 0, 0]
    assert without_repeats([honest[0], labelled(far, "c", energy_off_eV=0.2)])[1] == []


def test_strained_cells_are_near_where_their_vectors_are() -> None:
    strained = copper()
    strained.set_cell(strained.cell.array * 1.001, scale_atoms=True)
    assert without_repeats([labelled(copper(), "a"), labelled(strained, "b")])[1] == []
    told = without_repeats([labelled(copper(), "a"), labelled(strained, "b", energy_off_eV=1.0)])[1]
    assert "a and b" in told[0]


def test_files_given_together_are_looked_at_together(tmp_path: Path) -> None:
    for name, off in (("a", 0.0), ("b", 0.0), ("c", 0.5)):
        found = labelled(copper(), name, off)
        atoms = found.atoms.copy()
        atoms.info["REF_energy"] = found.energy_eV
        atoms.arrays["REF_forces"] = found.forces_eV_per_A
        write(tmp_path / f"{name}.extxyz", [atoms])
    read = read_labelled([tmp_path / "a.extxyz", tmp_path / "b.extxyz"])
    assert len(read.frames) == 1
    assert f"{tmp_path}/b.extxyz, frame 0 is {tmp_path}/a.extxyz, frame 0" in read.notes[0]
    with pytest.raises(
        InputError, match=r"a\.extxyz, frame 0 and .*c\.extxyz, frame 0 are the same geometry .*125 meV/atom"
    ):
        read_labelled([tmp_path / "a.extxyz", tmp_path / "c.extxyz"])


def test_many_frames_take_seconds() -> None:
    base = bulk("Cu", cubic=True).repeat(2)
    rng = np.random.default_rng(0)
    frames, walker = [], base.positions.copy()
    for index in range(3000):
        walker = walker + rng.normal(0, 0.002, walker.shape)  # neighbours in time are near each other
        atoms = base.copy()
        atoms.positions = walker
        frames.append(frame_of_file(atoms, 0.0, np.zeros((32, 3)), np.zeros(6), f"x, frame {index}"))
    began = time.process_time()
    kept, notes = without_repeats([*frames, replace(frames[17], where="again")])
    assert time.process_time() - began < 10
    assert len(kept) == 3000
    assert "again is x, frame 17" in notes[0]
