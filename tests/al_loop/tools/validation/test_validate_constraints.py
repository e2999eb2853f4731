"""Constraints in validation: followed, or the check says that it is about the free crystal."""

import numpy as np
import pytest
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixInternals, FixScaled
from ase.io import write

from al_loop.errors import InputError, NoAnswerError
from al_loop.tools.validation.checks import CHECKS
from al_loop.tools.validation.inputs import named_structures
from al_loop.tools.validation.molecular_dynamics import molecular_dynamics
from al_loop.tools.validation.relax import minimum
from al_loop.tools.validation.relaxation import relaxation

FREE_CRYSTAL = ("equation-of-state", "elasticity", "defects", "surfaces", "interfaces")


def slab():
    atoms = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    atoms.pbc = True
    atoms.set_constraint(FixAtoms(list(range(8))))
    return atoms


def test_a_relaxation_follows_constraints_in_the_given_cell_and_says_so():
    start = slab()
    start.positions[8:] += np.random.default_rng(0).normal(0, 0.1, (4, 3))
    found = relaxation(start, EMT())
    assert [quantity.name for quantity in found] == ["energy per atom", "Cu-Cu bond length"]
    assert found[0].note == "the structure holds FixAtoms (8 atoms): relaxed in the given cell"
    end = minimum(start, EMT(), force_tolerance_eV_per_A=0.02, steps=100).atoms
    assert (end.positions[:8] == start.positions[:8]).all()
    assert np.abs(end.positions[8:] - start.positions[8:]).max() > 0.05
    assert end.constraints[0].get_indices().tolist() == list(range(8))


@pytest.mark.parametrize("name", FREE_CRYSTAL)
def test_checks_of_a_free_crystal_refuse_one_that_is_held(name):
    crystal = bulk("Cu", cubic=True)
    crystal.set_constraint(FixAtoms([0]))
    (check,) = (check for check in CHECKS if check.name == name)
    values = check.run(crystal, EMT())
    assert values.failure.startswith(
        "the check is about the free crystal, but the structure holds FixAtoms (1 atom); remove the constraint"
    )


def test_dynamics_follow_constraints_and_leave_npt_out():
    crystal = bulk("Cu", cubic=True)
    crystal.set_constraint(FixAtoms([0]))
    found = {q.name: q for q in molecular_dynamics(crystal, EMT(), nvt_steps=10, nve_steps=5, least_size_A=4.0)}
    assert found["density"].value is None
    assert (
        "NPT: the structure holds FixAtoms (8 atoms), which a motion of the cell cannot follow" in found["density"].note
    )
    assert found["stays whole (1 yes, 0 no)"].value == 1.0
    assert found["conserves energy (1 yes, 0 no)"].value == 1.0


def test_a_minimum_with_its_cell_is_refused_with_constraints():
    crystal = bulk("Cu", cubic=True)
    crystal.set_constraint(FixScaled([0], (True, False, False)))
    with pytest.raises(NoAnswerError, match=r"the structure Cu4 holds FixScaled .* a motion of the cell"):
        minimum(crystal, EMT(), force_tolerance_eV_per_A=0.1, steps=3, with_cell=True)


@pytest.mark.parametrize("factor", [1e-3, 1e30])
def test_a_structure_beyond_the_bounds_is_refused_as_the_file_is_read(tmp_path, factor):
    crystal = bulk("Cu", cubic=True)
    crystal.set_cell(crystal.cell * factor, scale_atoms=True)
    write(tmp_path / "cu.traj", crystal)
    with pytest.raises(InputError, match=r"cu.traj, candidate 0: received a (cell|length) of .*; correct the number"):
        named_structures([tmp_path / "cu.traj"])


def test_kinds_that_nothing_follows_are_refused_as_the_file_is_read(tmp_path):
    crystal = bulk("Cu", cubic=True)
    crystal.set_constraint(FixInternals(bonds=[[None, [0, 1]]]))
    write(tmp_path / "cu.traj", crystal)
    with pytest.raises(InputError, match=r"cu.traj, structure 0, holds FixInternals, which nothing here follows"):
        named_structures([tmp_path / "cu.traj"])
