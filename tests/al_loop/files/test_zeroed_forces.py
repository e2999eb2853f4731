"""Forces on fixed atoms that ``get_forces`` set to zero are no labels; raw ones are."""

from pathlib import Path

import pytest
from ase import Atoms
from ase.build import fcc111
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixCartesian, FixConstraint
from ase.io import write

from al_loop.errors import InputError
from al_loop.files.labelled import read_labelled


def labelled(path: Path, constraint: FixConstraint, *, raw: bool) -> Path:
    slab = fcc111("Cu", (2, 2, 3), vacuum=8.0)
    slab.pbc = True
    slab.rattle(0.1, seed=0)
    slab.set_constraint(constraint)
    slab.calc = EMT()
    info = {"REF_energy": slab.get_potential_energy()}
    forces = slab.get_forces(apply_constraint=not raw)
    frame = Atoms(slab.symbols, slab.positions, cell=slab.cell, pbc=True, info=info, constraint=constraint)
    frame.set_array("REF_forces", forces)
    write(path, frame)
    return path


def test_forces_that_a_constraint_set_to_zero_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"zeroed.extxyz, frame 0: the forces on its 8 fixed atoms are exactly zero"):
        read_labelled(labelled(tmp_path / "zeroed.extxyz", FixAtoms(range(8)), raw=False))


@pytest.mark.parametrize(
    "constraint", [FixAtoms(range(8)), FixAtoms([0]), FixCartesian(range(8), (False, False, True))]
)
def test_raw_forces_are_labels(constraint: FixConstraint, tmp_path: Path) -> None:
    (frame,) = read_labelled(labelled(tmp_path / "raw.extxyz", constraint, raw=True)).frames
    assert (frame.forces_eV_per_A != 0).any(axis=1).all()


@pytest.mark.parametrize("constraint", [FixAtoms([0]), FixCartesian(range(8), (False, False, True))])
def test_zeros_that_symmetry_may_ask_for_are_labels(constraint: FixConstraint, tmp_path: Path) -> None:
    assert read_labelled(labelled(tmp_path / "zeros.extxyz", constraint, raw=False)).frames
