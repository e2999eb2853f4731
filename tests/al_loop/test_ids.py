"""A frame's id depends on what a calculation depends on, and on nothing else."""

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from al_loop.utils.content_hash import GRID_A, GRID_OFFSET, canonical_order, content_id, frame_id, request_id


def random_frame(rng: np.random.Generator, decimals: int | None = None) -> Atoms:
    count = int(rng.integers(1, 25))
    positions = rng.uniform(-30, 30, (count, 3))
    cell = rng.uniform(-10, 10, (3, 3))
    if decimals is not None:
        positions, cell = positions.round(decimals), cell.round(decimals)
    return Atoms(
        numbers=rng.integers(1, 90, count),
        positions=positions,
        cell=cell,
        pbc=rng.integers(0, 2, 3).astype(bool),
        magmoms=rng.choice([0.0, 1.0, -2.2], count),
        info={"charge": int(rng.integers(-2, 3)), "spin": int(rng.integers(1, 4))},
    )


@pytest.mark.parametrize("seed", range(20))
def test_order_in_memory_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    atoms = random_frame(rng)
    assert frame_id(atoms[rng.permutation(len(atoms))]) == frame_id(atoms)


@pytest.mark.parametrize("decimals", range(10))
def test_noise_does_not_matter_to_values_with_few_decimals(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    for _ in range(50):
        atoms = random_frame(rng, decimals)
        noisy = atoms.copy()
        noisy.positions += rng.uniform(-1e-10, 1e-10, (len(atoms), 3))
        noisy.cell[:] += rng.uniform(-1e-10, 1e-10, (3, 3))
        assert frame_id(noisy) == frame_id(atoms)


def test_noise_does_not_matter_to_arbitrary_values() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        atoms = random_frame(rng)
        noisy = atoms.copy()
        noisy.positions += rng.uniform(-1e-10, 1e-10, (len(atoms), 3))
        assert frame_id(noisy) == frame_id(atoms)


def test_simple_fractions_stay_away_from_the_edges_of_the_grid() -> None:
    fractions = np.concatenate([np.arange(q) / q for q in range(1, 600)])
    distances = np.abs((fractions + GRID_OFFSET) % 1.0 - np.round((fractions + GRID_OFFSET) % 1.0))
    assert distances.min() * GRID_A > 1e-10


@pytest.mark.parametrize("value", [0.5, 0.00005, 1.23455, 5.64, 5.431 / 8, 1 / 3])
def test_one_rounding_error_does_not_matter(value: float) -> None:
    ids = {frame_id(Atoms("H", [(np.nextafter(value, direction), 0, 0)])) for direction in (-np.inf, value, np.inf)}
    assert len(ids) == 1


def test_the_sign_of_zero_does_not_matter() -> None:
    plus, minus = Atoms("H2", [(0.0, 0, 0), (0, 0, 0.7)]), Atoms("H2", [(-0.0, 0, -0.0), (-0.0, 0, 0.7)])
    assert frame_id(plus) == frame_id(minus)


def _shifted(atoms: Atoms) -> None:
    atoms.positions[0, 0] += 2e-4


def _stretched(atoms: Atoms) -> None:
    atoms.cell[2, 2] += 2e-4


def _magnetic(atoms: Atoms) -> None:
    atoms.set_initial_magnetic_moments([1.0, *[0.0] * (len(atoms) - 1)])


def _other_element(atoms: Atoms) -> None:
    atoms.numbers[0] += 1


CHANGES: list[Callable[[Atoms], object]] = [
    _shifted,
    _stretched,
    _magnetic,
    _other_element,
    lambda atoms: atoms.set_pbc((True, True, False)),
    lambda atoms: atoms.info.update(charge=1),
    lambda atoms: atoms.info.update(spin=3),
    lambda atoms: atoms.pop(),
]


def test_everything_that_changes_a_calculation_changes_the_id() -> None:
    frames = [bulk("NaCl", "rocksalt", 5.64) for _ in range(len(CHANGES) + 1)]
    for change, atoms in zip(CHANGES, frames, strict=False):
        change(atoms)
    assert len({frame_id(atoms) for atoms in frames}) == len(frames)


def test_defaults_and_bystanders_do_not_change_the_id() -> None:
    plain = molecule("CH3OH")
    dressed = plain.copy()
    dressed.info.update(charge=0, spin=None, note="mine", source="somewhere")
    dressed.set_initial_magnetic_moments(np.zeros(len(dressed)))
    dressed.set_velocities(np.ones((len(dressed), 3)))
    dressed.set_tags(range(len(dressed)))
    dressed.calc = EMT()
    assert frame_id(dressed) == frame_id(plain)


def test_numpy_and_plain_numbers_are_the_same() -> None:
    plain, numpy = molecule("O2"), molecule("O2")
    plain.info.update(charge=-1, spin=2)
    numpy.info.update(charge=np.float64(-1.0), spin=np.int64(2))
    assert frame_id(plain) == frame_id(numpy)


def test_the_id_is_the_same_in_every_process_and_version() -> None:
    imports = "from ase.build import molecule; from al_loop.utils.content_hash import frame_id"
    script = f"{imports}; print(frame_id(molecule('CH3OH')))"
    for seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, check=True, text=True
        )
        assert done.stdout.strip() == frame_id(molecule("CH3OH")) == "d9aef663ba59c50012ae2e5b126de489"


def test_non_finite_positions_have_an_id() -> None:
    frames = [molecule("H2O") for _ in range(4)]
    for atoms, value in zip(frames, (np.nan, np.inf, -np.inf, 1e300), strict=True):
        atoms.positions[1, 1] = value
    assert len({frame_id(atoms) for atoms in frames}) >= 3
    assert frame_id(frames[0]) == frame_id(frames[0].copy())
    assert frame_id(frames[0]) != frame_id(molecule("H2O"))


def test_no_atoms_have_an_id() -> None:
    assert len(frame_id(Atoms())) == 32


def test_the_structure_is_not_touched() -> None:
    atoms = random_frame(np.random.default_rng(3))
    before = atoms.copy()
    frame_id(atoms)
    canonical_order(atoms)
    assert atoms == before
    assert atoms.info == before.info


@pytest.mark.parametrize("seed", range(10))
def test_the_canonical_order_pairs_the_same_atoms(seed: int) -> None:
    rng = np.random.default_rng(seed)
    atoms = random_frame(rng)
    turned = atoms[rng.permutation(len(atoms))]
    first, second = atoms[canonical_order(atoms)], turned[canonical_order(turned)]
    assert np.array_equal(first.positions, second.positions)
    assert np.array_equal(first.numbers, second.numbers)


def test_a_request_is_a_frame_at_a_level_of_theory() -> None:
    assert request_id("a", "b") == request_id("a", "b")
    assert len({request_id("a", "b"), request_id("b", "a"), request_id("ab", ""), request_id("a", "c")}) == 4


def test_parts_of_a_content_id_do_not_run_into_each_other() -> None:
    assert content_id("ab", "c") != content_id("a", "bc")
    assert content_id("1:a", 2) != content_id("1", "a", 2)
