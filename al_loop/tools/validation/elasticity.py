"""Check ``elasticity``: the elastic tensor from stresses of strained cells, as few as the crystal's symmetry allows."""

from functools import partial

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from al_loop.errors import NoAnswerError
from al_loop.tools.validation.bulk import require_free
from al_loop.tools.validation.crystal_symmetry import (
    VOIGT,
    distinct_constants,
    free_constants,
    rotations,
    telling_strains,
)
from al_loop.tools.validation.quantity import Quantity
from al_loop.tools.validation.relax import minimum

CHECK = "elasticity"

Array = NDArray[np.float64]


def elasticity(
    structure: str,
    atoms: Atoms,
    calculator: Calculator,
    *,
    strain: float = 0.005,
    force_tolerance_eV_per_A: float = 0.01,
    steps: int = 200,
) -> list[Quantity]:
    """Relax a crystal, strain it both ways, relax the atoms in it, and take differences of the stress.

    Central differences C_ij = (σ_i(+ε_j) - σ_i(-ε_j)) / 2ε, in the axes of the given cell; a stress that the
    relaxation left cancels. The symmetry of the given crystal determines which strains give all constants
    (two of six for a cubic one) and which constants there are. The averages are those of Hill (Proc. Phys. Soc. A 65,
    349 (1952)).

    Args:
        structure: its name.
        atoms: the crystal; not modified.
        calculator: energy, forces and stress.
        strain: ε.
        force_tolerance_eV_per_A: of the atoms in each cell.
        steps: of each relaxation at most.

    Raises:
        NoAnswerError: not a crystal, a constrained one, or a relaxation that finds no minimum.
    """
    if not atoms.pbc.all():
        raise NoAnswerError("an elastic tensor needs a structure that is periodic in three directions")
    require_free(atoms)
    basis = free_constants(rotations(atoms))
    strains = telling_strains(basis)
    relaxed = partial(minimum, calculator=calculator, force_tolerance_eV_per_A=force_tolerance_eV_per_A, steps=steps)
    at_rest = relaxed(atoms, with_cell=True).atoms

    def stress(index: int, size: float) -> Array:
        settled = relaxed(_strained(at_rest, index, size)).atoms
        settled.calc = calculator  # which answered for these positions last
        return np.asarray(settled.get_stress(), dtype=np.float64)

    columns = np.array([(stress(index, strain) - stress(index, -strain)) / (2 * strain) for index in strains])
    known = basis[:, :, strains].transpose(0, 2, 1).reshape(len(basis), -1)
    parameters = np.linalg.lstsq(known.T, columns.reshape(-1), rcond=None)[0]
    tensor = np.einsum("d,dij->ij", parameters, basis) / units.GPa
    return _quantities(structure, tensor, distinct_constants(basis))


def _strained(atoms: Atoms, index: int, size: float) -> Atoms:
    """Apply one Voigt strain (engineering shear), symmetrically."""
    i, j = VOIGT[index]
    deformation = np.eye(3)
    deformation[i, j] += size if i == j else size / 2
    deformation[j, i] = deformation[i, j]
    strained = atoms.copy()
    strained.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    return strained


def _quantities(structure: str, tensor: Array, names: list[tuple[int, int]]) -> list[Quantity]:
    group = f"elastic constants of {structure}"
    found = [Quantity(CHECK, structure, f"C{i + 1}{j + 1}", "GPa", float(tensor[i, j]), group) for i, j in names]
    mandel = np.sqrt([1, 1, 1, 2, 2, 2])  # in this scaling the eigenvalues are the same in all axes
    smallest = float(np.linalg.eigvalsh(tensor * np.outer(mandel, mandel)).min())
    unstable = "mechanically unstable: a strain lowers the energy" if smallest <= 0 else ""
    found.append(Quantity(CHECK, structure, "smallest eigenvalue", "GPa", smallest, note=unstable))
    bulk, shear = _hill(tensor) if smallest > 0 else (None, None)
    found.append(Quantity(CHECK, structure, "bulk modulus (Hill)", "GPa", bulk, note=unstable))
    found.append(Quantity(CHECK, structure, "shear modulus (Hill)", "GPa", shear, note=unstable))
    return found


def _hill(stiffness: Array) -> tuple[float, float]:
    """Means of the bounds of Voigt and Reuss: bulk and shear modulus."""
    compliance = np.linalg.inv(stiffness)
    bulk, shear = [], []
    for tensor, reuss in ((stiffness, False), (compliance, True)):
        diagonal = float(np.trace(tensor[:3, :3]))
        beside = float(tensor[0, 1] + tensor[0, 2] + tensor[1, 2])
        shears = float(np.trace(tensor[3:, 3:]))
        if reuss:
            bulk.append(1 / (diagonal + 2 * beside))
            shear.append(15 / (4 * (diagonal - beside) + 3 * shears))
        else:
            bulk.append((diagonal + 2 * beside) / 9)
            shear.append((diagonal - beside + 3 * shears) / 15)
    return sum(bulk) / 2, sum(shear) / 2
