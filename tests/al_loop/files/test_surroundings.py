"""Cells and periodicity that are given for files without."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from al_loop.errors import InputError
from al_loop.files.surroundings import UNSTATED, surroundings_of


@pytest.mark.parametrize(
    ("cell", "parameters"),
    [
        ("4 5 6", [4, 5, 6, 90, 90, 90]),
        ("4,5,6,90,90,120", [4, 5, 6, 90, 90, 120]),
        ("[4,0,0], [0,5,0], [0,0,6]", [4, 5, 6, 90, 90, 90]),
        ("0 2 2 2 0 2 2 2 0", [8**0.5] * 3 + [60] * 3),
    ],
)
def test_a_cell_is_put_round_atoms_that_have_none(cell: str, parameters: list[float]) -> None:
    atoms = Atoms("H")
    surroundings_of(cell, None).put_round(atoms, "x")
    np.testing.assert_allclose(atoms.cell.cellpar(), parameters)
    assert atoms.pbc.all()


@pytest.mark.parametrize(
    ("pbc", "expected"),
    [("TTF", (1, 1, 0)), ("T T F", (1, 1, 0)), ("true,true,false", (1, 1, 0)), ("xy", (1, 1, 0)), ("z", (0, 0, 1)),
     ("none", (0, 0, 0)), ("FFF", (0, 0, 0)), ("1 0 1", (1, 0, 1))],
)  # fmt: skip
def test_a_periodicity_is_read_in_the_usual_spellings(pbc: str, expected: tuple[int, int, int]) -> None:
    atoms = Atoms("H")
    surroundings_of("4 4 4", pbc).put_round(atoms, "x")
    assert tuple(atoms.pbc) == expected


def test_what_the_file_states_stays() -> None:
    atoms = bulk("Cu")
    before = atoms.cell.array.copy()
    for given in (UNSTATED, surroundings_of("2.5527 2.5527 2.5527 60 60 60", "TTT")):
        given.put_round(atoms, "x")
        assert (atoms.cell.array == before).all()
    slab = Atoms("H", cell=[4, 4, 20])
    surroundings_of(None, "xy").put_round(slab, "x")
    assert slab.pbc.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("cell", "pbc", "said"),
    [
        ("3.7 3.6 3.6", None, r"frame 7 states a cell of 3\.6 3\.6 3\.6 90 90 90 .*--cell one of 3\.7 3\.6 3\.6"),
        ("3.6 3.6 3.6 90 90 91", None, "states a cell"),
        ("0 3.6 0 3.6 0 0 0 0 3.6", None, "states a cell"),
        (None, "TTF", "frame 7 is periodic in T T T, and --pbc states T T F"),
        (None, "none", "frame 7 is periodic in T T T, and --pbc states F F F"),
    ],
)
def test_contradictions_name_both(cell: str | None, pbc: str | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        surroundings_of(cell, pbc).put_round(bulk("Cu", a=3.6, cubic=True), "run.xyz, frame 7")


def test_a_periodic_direction_without_a_vector_is_refused() -> None:
    with pytest.raises(InputError, match=r"x has no cell vector a and b, .*give --cell"):
        surroundings_of(None, "xy").put_round(Atoms("H"), "x")


@pytest.mark.parametrize(
    ("cell", "pbc"),
    [("4 4", None), ("a b c", None), ("4 4 0", None), ("4 4 -4", None), ("nan 4 4", None), ("4 4 4 90 90 200", None),
     ("4 4 4 60 60 150", None), ("1 0 0 2 0 0 0 0 1", None), ("", None), (None, "TT"), (None, "xx"), (None, "maybe"),
     (None, "")],
)  # fmt: skip
def test_what_is_no_cell_or_periodicity_is_refused(cell: str | None, pbc: str | None) -> None:
    with pytest.raises(InputError, match="--cell: received" if pbc is None else "--pbc: received"):
        surroundings_of(cell, pbc)
