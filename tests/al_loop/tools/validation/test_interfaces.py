"""Work of adhesion: twice the surface energy at the best shift, distinct shifts, two crystals, and failures."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from unsound_calculators import NaNForces

from al_loop.tools.validation.interfaces import GROUP, interfaces
from al_loop.tools.validation.quantity import Quantity
from al_loop.tools.validation.slab_pairs import distinct_shifts, mismatch, pair_of, shifted
from al_loop.tools.validation.surfaces import surfaces

THIN = {"thickness_A": 5.0}


@pytest.fixture(scope="module")
def of_copper() -> list[Quantity]:
    return interfaces(bulk("Cu"), EMT(), **THIN)


def shifts_of(crystal: Atoms) -> list[tuple[float, float]]:
    pair = pair_of(crystal, None, thickness_A=6, vacuum_A=10, max_mismatch=0.05)
    return distinct_shifts(pair.joined(*pair.crystals), pair.count)


def test_the_best_shift_makes_the_crystal_again(of_copper: list[Quantity]) -> None:
    [surface] = [q for q in surfaces(bulk("Cu"), EMT(), **THIN) if q.name == "(100)"]
    assert max(q.value for q in of_copper) == pytest.approx(2 * surface.value, abs=0.01)


def test_on_a_square_plane_the_hollow_holds_best_and_the_top_least(of_copper: list[Quantity]) -> None:
    assert {(q.unit, q.order_group) for q in of_copper} == {("J/m²", GROUP)}
    ordered = sorted(of_copper, key=lambda q: -q.value)
    pair = pair_of(bulk("Cu"), None, thickness_A=5, vacuum_A=12, max_mismatch=0.05)
    joined = pair.joined(*pair.crystals)
    names = {f"(100) on itself shifted by ({u}, {v})": (u, v) for u in ("0", "1/2") for v in ("0", "1/2")}
    neighbours = []
    for quantity in ordered:
        shift = tuple({"0": 0.0, "1/2": 0.5}[word] for word in names[quantity.name])
        moved = shifted(joined, pair.count, shift)
        distances = moved.get_all_distances(mic=True)[: pair.count, pair.count :]
        assert distances.min() == pytest.approx(3.61 / np.sqrt(2), abs=0.01)  # brought into touch
        neighbours.append(moved.positions[pair.count :, 2].min() - moved.positions[: pair.count, 2].max())
    assert neighbours == sorted(neighbours)  # hollow, bridge, top
    assert len(ordered) == 3


def test_distinct_shifts() -> None:
    assert len(shifts_of(bulk("NaCl", "rocksalt", 5.64))) == 3
    assert shifts_of(bulk("Ti")) == [(0.0, 0.0), (0.5, 0.0), (1 / 3, 2 / 3), (2 / 3, 1 / 3)]


def test_two_crystals() -> None:
    copper, nickel = bulk("Cu"), bulk("Ni")
    pair = pair_of(copper, nickel, thickness_A=5, vacuum_A=10, max_mismatch=0.05)
    assert pair.name == "Ni (100) on (100)"
    joined = pair.joined(*pair.crystals)
    assert set(joined.symbols[: pair.count]) == {"Cu"}
    assert set(joined.symbols[pair.count :]) == {"Ni"}
    found = interfaces(copper, EMT(), other=nickel, thickness_A=3.0)
    assert len(found) == 3
    assert all(q.value > 0.5 for q in found)
    assert all("strained by 2.6%" in q.note for q in found)


def test_crystals_that_do_not_match_say_so() -> None:
    [only] = interfaces(bulk("Cu"), EMT(), other=bulk("Ag"), max_mismatch=0.01, **THIN)
    assert only.value is None
    assert "no plane of the upper crystal matches (100) of the lower one within 1%" in only.note


def test_repeats_make_lattices_match() -> None:
    pair = pair_of(bulk("Cu", a=3.6), bulk("Ag", a=4.8), thickness_A=4, vacuum_A=10, max_mismatch=0.01)
    assert pair.repeats == ((4, 4), (3, 3))
    assert mismatch(Atoms(cell=[4, 4, 9]), Atoms(cell=[5, 4, 9])) == pytest.approx(0.2)


def test_what_is_no_crystal_has_no_interface() -> None:
    assert interfaces(fcc111("Cu", (1, 1, 4), vacuum=10, periodic=True), EMT()) == []


def test_calculators_that_fail_cost_the_values_only(of_copper: list[Quantity]) -> None:
    found = interfaces(bulk("Cu"), NaNForces(), **THIN)
    assert [q.name for q in found] == [q.name for q in of_copper]
    assert {q.value for q in found} == {None}
    assert all("not finite" in q.note for q in found)
