import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from dft_interfaces.structure import CannotCalculateError, charge_and_multiplicity, require_computable


@pytest.mark.parametrize(
    ("name", "info", "expected"),
    [
        ("H2O", {}, (0, 1)),
        ("CH3", {}, (0, 2)),
        ("CH3", {"charge": 1}, (1, 1)),
        ("O2", {"spin": 3}, (0, 3)),
        ("H2O", {"charge": np.int64(-1), "spin": 2.0}, (-1, 2)),
        ("H", {"spin": None}, (0, 2)),
    ],
)
def test_charge_and_multiplicity(name, info, expected):
    atoms = molecule(name)
    atoms.info.update(info)
    assert charge_and_multiplicity(atoms) == expected


@pytest.mark.parametrize(
    ("info", "fragment"),
    [
        ({"spin": 2}, "expected one of 1, 3"),
        ({"spin": 0}, "multiplicity 0"),
        ({"spin": 13}, "for 10 electrons"),
        ({"charge": 10}, "leaves 0 electrons"),
        ({"charge": 0.5}, "whole number"),
        ({"charge": float("nan")}, "whole number"),
        ({"spin": "high"}, "whole number"),
    ],
)
def test_impossible_electrons_are_named(info, fragment):
    atoms = molecule("H2O")
    atoms.info.update(info)
    with pytest.raises(CannotCalculateError, match=fragment):
        charge_and_multiplicity(atoms)


def _with_nan():
    atoms = molecule("H2O")
    atoms.positions[1, 2] = np.nan
    return atoms


@pytest.mark.parametrize(
    ("atoms", "fragment"),
    [
        (Atoms(), "without atoms"),
        (Atoms("XH", [[0, 0, 0], [0, 0, 1]]), "without an element"),
        (_with_nan(), "non-finite"),
        (Atoms("Cu", pbc=True), "flat cell"),
        (Atoms("Cu", cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]], pbc=True), "flat cell"),
        (Atoms("Cu", cell=[[3, 0, 0], [6, 0, 0], [0, 0, 9]], pbc=[True, True, False]), "flat cell"),
        (Atoms("Cu", cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0.01]], pbc=True), "flat cell"),
        (Atoms("H", magmoms=[np.nan]), "magnetic moments"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 0.05]]), "0.050 Å apart"),
        (Atoms("H2", [[0.01, 0, 0], [2.99, 0, 0]], cell=[3, 3, 3], pbc=True), "0.020 Å apart"),
    ],
)
def test_structures_that_no_engine_can_calculate(atoms, fragment):
    with pytest.raises(CannotCalculateError, match=fragment):
        require_computable(atoms)


@pytest.mark.parametrize(
    "atoms",
    [
        molecule("H"),
        molecule("CH3OH"),
        bulk("Cu"),
        Atoms("C", cell=[[2, 0, 2], [0, 2, 2], [2, 2, 0]], pbc=True),
        Atoms("C", cell=[0, 0, 3], pbc=[0, 0, 1]),
    ],
)
def test_sound_structures_pass(atoms):
    require_computable(atoms)
