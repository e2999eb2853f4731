"""Relaxation, equation of state and elastic tensor: EMT's own published numbers, and what each refuses."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from al_loop.errors import NoAnswerError
from al_loop.tools.validation.crystal_symmetry import determining_strains, distinct_constants, free_constants, rotations
from al_loop.tools.validation.elasticity import elasticity
from al_loop.tools.validation.equation_of_state import equation_of_state, fitted
from al_loop.tools.validation.relaxation import relaxation


def values(quantities) -> dict[str, float]:
    assert len({q.name for q in quantities}) == len(quantities)
    return {q.name: q.value for q in quantities}


def test_a_crystal_relaxes_with_its_cell_from_far_off_and_keeps_its_atoms():
    start = bulk("Cu", cubic=True, a=3.75)
    before = start.copy()
    found = values(relaxation(start, EMT()))
    assert start == before
    assert found["a"] == pytest.approx(3.59, abs=0.01)  # EMT's own lattice constant
    assert found["volume per atom"] == pytest.approx(found["a"] ** 3 / 4, rel=1e-4)
    assert found["Cu-Cu bond length"] == pytest.approx(found["a"] / np.sqrt(2), rel=1e-4)
    assert found["largest change of a cell angle"] == pytest.approx(0, abs=1e-3)


def test_a_molecule_has_bonds_and_an_energy_but_no_lattice():
    found = relaxation(molecule("H2O"), EMT())
    assert [q.name for q in found] == ["energy per atom", "H-O bond length"]
    assert found[0].order_group == "energy of H2O"


def test_a_relaxation_that_does_not_end_has_no_values():
    with pytest.raises(NoAnswerError, match=r"did not converge in 2 steps: a force of"):
        relaxation(bulk("Cu", cubic=True, a=4.0), EMT(), steps=2)


@pytest.mark.parametrize("a", [3.4, 3.6, 3.85])
def test_the_equation_of_state_finds_the_minimum_wherever_it_starts(a: float):
    found = values(equation_of_state(bulk("Cu", a=a), EMT()))
    assert found["equilibrium volume per atom"] == pytest.approx(11.565, abs=0.03)
    assert found["bulk modulus"] == pytest.approx(134.4, rel=0.02)  # Jacobsen, Stoltze, Nørskov 1996: 134 GPa


def test_the_fit_returns_the_curve_it_was_given():
    v0, modulus_GPa = 20.0, 90.0
    volumes = np.linspace(18.8, 21.2, 7)
    x = (v0 / volumes) ** (2 / 3)
    energies = 9 * v0 * modulus_GPa * units.GPa / 16 * ((x - 1) ** 3 * 4.2 + (x - 1) ** 2 * (6 - 4 * x))
    volume, modulus = (quantity.value for quantity in fitted(volumes, energies))
    assert volume == pytest.approx(v0, abs=1e-3)
    assert modulus == pytest.approx(modulus_GPa, rel=1e-3)


def test_an_energy_without_minimum_has_no_equation_of_state():
    repelling = LennardJones(sigma=6.0, epsilon=1.0, rc=6.5, smooth=True)
    with pytest.raises(NoAnswerError, match="no minimum within"):
        equation_of_state(bulk("Ar", a=5.3), repelling)
    with pytest.raises(NoAnswerError, match="lies outside"):
        fitted(np.linspace(10, 11, 5), np.array([5.0, 4.0, 3.1, 2.3, 1.6]))


@pytest.mark.parametrize("check", [equation_of_state, elasticity])
def test_molecules_have_neither_equation_of_state_nor_elastic_tensor(check):
    with pytest.raises(NoAnswerError, match="periodic in three directions"):
        check(molecule("H2O"), EMT())


def test_the_elastic_tensor_of_a_cubic_metal_needs_two_strains():
    assert len(determining_strains(free_constants(rotations(bulk("Cu", cubic=True))))) == 2
    found = values(elasticity(bulk("Cu", cubic=True), EMT()))
    # EMT's copper, as ASE's documentation of the potential has it: 173, 116 and 90 GPa.
    assert [found[name] for name in ("C11", "C12", "C44")] == pytest.approx([173, 116, 90], rel=0.01)
    assert found["smallest eigenvalue"] == pytest.approx(found["C11"] - found["C12"], rel=1e-3)
    assert found["bulk modulus (Hill)"] == pytest.approx((found["C11"] + 2 * found["C12"]) / 3, rel=1e-6)


def test_the_tensor_agrees_with_all_six_strains_where_symmetry_gives_fewer():
    primitive = bulk("Cu")
    turned = primitive.copy()
    turned.rotate(35, "z", rotate_cell=True)
    turned.rotate(20, "x", rotate_cell=True)
    assert len(determining_strains(free_constants(rotations(turned)))) < 6
    direct, rotated = values(elasticity(primitive, EMT())), values(elasticity(turned, EMT()))
    for name in ("smallest eigenvalue", "bulk modulus (Hill)", "shear modulus (Hill)"):  # the same in all axes
        assert rotated[name] == pytest.approx(direct[name], rel=5e-3)


@pytest.mark.parametrize(
    ("atoms", "operations", "constants"),
    [
        (bulk("Cu", cubic=True), 48, 3),
        (bulk("Si"), 48, 3),
        (bulk("NaCl", "rocksalt", a=5.64), 48, 3),
        (bulk("ZnS", "zincblende", a=5.41), 24, 3),
        (bulk("Ti"), 24, 5),
        (bulk("Fe", cubic=True).repeat((1, 1, 2)), 16, 6),
        (Atoms("Cu", cell=[3, 4, 5, 90, 90, 90], pbc=True), 8, 9),
        (Atoms("Cu", cell=[3, 4, 5, 75, 80, 95], pbc=True), 2, 21),
    ],
)
def test_symmetry_and_the_constants_it_leaves(atoms: Atoms, operations: int, constants: int):
    found = rotations(atoms)
    assert len(found) == operations
    assert all(np.allclose(r @ r.T, np.eye(3), atol=1e-6) for r in found)
    basis = free_constants(found)
    assert len(basis) == constants
    assert len(distinct_constants(basis)) >= constants


def test_moments_lower_the_symmetry():
    iron = bulk("Fe", cubic=True)
    iron.set_initial_magnetic_moments([2.0, -2.0])
    rows = bulk("Fe", cubic=True).repeat((1, 1, 2))
    rows.set_initial_magnetic_moments([2.0, 2.0, -2.0, -2.0])
    assert len(rotations(iron)) == 48
    assert len(rotations(rows)) == 16
    assert len(rotations(bulk("Fe", cubic=True).repeat((2, 2, 2)))) == 48
