"""Invalid structures are refused; unusual but valid ones are accepted."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from committee.errors import StructureError, UnknownElementError
from committee.structures import check_structures

EVERYTHING = frozenset(range(1, 119))


@pytest.mark.parametrize(
    "atoms",
    [
        molecule("H2O"),
        Atoms("Ar"),
        bulk("Cu"),
        fcc111("Al", (1, 1, 2)),  # no third vector at all
        Atoms("H", cell=[0, 0, 1.2], pbc=(False, False, True)),
        Atoms("Cu", cell=-3.0 * np.eye(3), pbc=True),
        Atoms("Cu", cell=[[2.5, 0, 0], [0, 2.5, 0], [55, 0, 2.5]], pbc=True),  # lopsided, of a steep surface
        Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.25]]),
        Atoms("H2", positions=[[0, 0, 0], [5, 0, 0]], cell=[5, 5, 5], pbc=(False, True, True)),
        Atoms("H2", positions=[[0, 0, -1e5], [0, 0, 1e5]]),
    ],
)
def test_sound_structures_pass(atoms: Atoms) -> None:
    check_structures([atoms], EVERYTHING)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms("H2"), "atoms 0 and 1 0 Å apart"),
        (Atoms("OH2", positions=[[0, 0, 0], [0, 0, 1], [0.03, 0.04, 1]]), "atoms 1 and 2 0.05 Å apart"),
        (Atoms("H2", positions=[[-1e-18, 0, 0], [5, 0, 0]], cell=[5, 5, 5], pbc=True), "atoms 0 and 1 .* Å apart"),
        (Atoms("H2", positions=[[0.1, 9, 9], [4.95, -1, -1]], cell=[5, 5, 5], pbc=True), "0.15 Å apart"),
        (Atoms("H2", positions=[[0, 0, 7], [-5, 0, 7.1]], cell=[5, 5, 0], pbc=(True, True, False)), "0.1 Å apart"),
        (Atoms("Cu2", [[0, 0, 0], [50.1, 0, 0]], cell=[[2.5, 0, 0], [0, 2.5, 0], [55, 0, 2.5]], pbc=True), "0.1 Å"),
        (Atoms("Cu", cell=[0.1, 4, 4], pbc=True), "repeats every 0.1 Å"),
        (Atoms("Cu", cell=[[4, 0, 0], [4, 0.1, 0], [0, 0, 4]], pbc=True), "repeats every 0.1 Å"),
    ],
)
def test_atoms_in_one_place_are_refused(atoms: Atoms, message: str) -> None:
    with pytest.raises(StructureError, match=message) as caught:
        check_structures([molecule("H2O"), atoms], EVERYTHING)
    assert "Frame 1 " in str(caught.value)


def _with(atoms: Atoms, **changes: object) -> Atoms:
    for name, value in changes.items():
        setattr(atoms, name, value)
    return atoms


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms(), "no atoms"),
        (_with(molecule("H2O"), positions=np.diag([0, np.nan, 1])), "positions at atoms 1;"),
        (_with(molecule("H2O"), positions=np.full((3, 3), np.inf)), "positions at atoms 0, 1, 2;"),
        (_with(bulk("Cu"), cell=np.diag([1, 1, np.nan])), "cell"),
        (_with(molecule("H2O"), pbc=True), "periodic in a, b, c"),
        (_with(molecule("H2O"), pbc=(False, True, False)), "periodic in b"),
        (_with(bulk("Cu"), cell=[[1, 0, 0], [0, 1, 0], [1, 1, 0]]), "no volume"),
    ],
)
def test_impossible_structures_are_refused(atoms: Atoms, message: str) -> None:
    with pytest.raises(StructureError, match=message) as caught:
        check_structures([molecule("H2O"), atoms], EVERYTHING)
    assert "Frame 1 " in str(caught.value)


def test_no_frames() -> None:
    with pytest.raises(StructureError, match="no frames"):
        check_structures([], EVERYTHING)


def test_many_broken_atoms_are_counted() -> None:
    atoms = bulk("Cu").repeat(2)
    atoms.positions[:] = np.nan
    with pytest.raises(StructureError, match=r"0, 1, 2, 3, 4, \.\.\. \(8 in all\)"):
        check_structures([atoms], EVERYTHING)


def test_unknown_elements_are_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownElementError, match=r"Frame 0 holds C, O, which .* covers H He"):
        check_structures([molecule("CH3OH")], {1, 2})


def test_placeholder_atoms_are_no_element() -> None:
    with pytest.raises(UnknownElementError, match="holds X"):
        check_structures([Atoms("X")], EVERYTHING)
