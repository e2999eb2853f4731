"""Check ``elasticity``: the elastic tensor from stresses of strained cells, as few as the crystal's symmetry allows."""

from functools import partial

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from al_loop.tools.validation.bulk import require_free_periodic
from al_loop.tools.validation.crystal_symmetry import (
    VOIGT,
    determining_strains,
    distinct_constants,
    free_constants,
    rotations,
)
from al_loop.tools.validation.quantity import Quantity
from al_loop.tools.validation.relax import minimum

GROUP = "elastic constants of {}"

Array = NDArray[np.float64]


def elasticity(
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

    Raises:
        NoAnswerError: not a crystal, a constrained one, or a relaxation that finds no minimum.
    """
    require_free_periodic(atoms, "an elastic tensor")
    basis = free_constants(rotations(atoms))
    strains = determining_strains(basis)
    relaxed = partial(minimum, calculator=calculator, force_tolerance_eV_per_A=force_tolerance_eV_per_A, steps=steps)
    at_rest = relaxed(atoms, with_cell=True).atoms

    def stress(index: int, size: float) -> Array:
        settled = relaxed(_strained(at_rest, index, size)).atoms
        settled.calc = calculator  # which has just calculated these positions
        return np.asarray(settled.get_stress(), dtype=np.float64)

    columns = np.array([(stress(index, strain) - stress(index, -strain)) / (2 * strain) for index in strains])
    known = basis[:, :, strains].transpose(0, 2, 1).reshape(len(basis), -1)
    parameters = np.linalg.lstsq(known.T, columns.reshape(-1), rcond=None)[0]
    tensor = np.einsum("d,dij->ij", parameters, basis) / units.GPa
    return _quantities(tensor, distinct_constants(basis))


def _strained(atoms: Atoms, index: int, size: float) -> Atoms:
    """Apply one Voigt strain (engineering shear), symmetrically."""
    i, j = VOIGT[index]
    deformation = np.eye(3)
    deformation[i, j] += size if i == j else size / 2
    deformation[j, i] = deformation[i, j]
    strained = atoms.copy()
    strained.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    return strained


def _quantities(tensor: Array, names: list[tuple[int, int]]) -> list[Quantity]:
    found = [Quantity(f"C{i + 1}{j + 1}", "GPa", float(tensor[i, j]), GROUP) for i, j in names]
    mandel = np.sqrt([1, 1, 1, 2, 2, 2])  # in this scaling the eigenvalues are the same in all axes
    smallest = float(np.linalg.eigvalsh(tensor * np.outer(mandel, mandel)).min())
    unstable = "mechanically unstable: a strain lowers the energy" if smallest <= 0 else ""
    found.append(Quantity("smallest eigenvalue", "GPa", smallest, note=unstable))
    bulk, shear = _hill(tensor) if smallest > 0 else (None, None)
    found.append(Quantity("bulk modulus (Hill)", "GPa", bulk, note=unstable))
    found.append(Quantity("shear modulus (Hill)", "GPa", shear, note=unstable))
    return found


def _hill(stiffness: Array) -> tuple[float, float]:
    """Means of the bounds of Voigt and Reuss: bulk and shear modulus."""
    voigt_bulk, voigt_shear = _invariants(stiffness, shear_weight=1.0)
    reuss_bulk, reuss_shear = _invariants(np.asarray(np.linalg.inv(stiffness)), shear_weight=0.25)
    return (voigt_bulk / 9 + 1 / reuss_bulk) / 2, (voigt_shear / 15 + 15 / (4 * reuss_shear)) / 2


def _invariants(tensor: Array, shear_weight: float) -> tuple[float, float]:
    """The sums over a stiffness or a compliance that bulk and shear modulus follow from."""
    diagonal = float(np.trace(tensor[:3, :3]))
    beside = float(tensor[0, 1] + tensor[0, 2] + tensor[1, 2])
    return diagonal + 2 * beside, diagonal - beside + 3 * shear_weight * float(np.trace(tensor[3:, 3:]))
