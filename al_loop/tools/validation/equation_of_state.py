"""Check ``equation-of-state``: equilibrium volume and bulk modulus from energies at several volumes."""

import warnings

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.eos import EquationOfState
from numpy.typing import NDArray

from al_loop.errors import NoAnswerError
from al_loop.tools.validation.bulk import require_free_periodic
from al_loop.tools.validation.quantity import Quantity
from al_loop.tools.validation.relax import minimum

Array = NDArray[np.float64]


def equation_of_state(
    atoms: Atoms,
    calculator: Calculator,
    *,
    volume_step: float = 0.02,
    points: int = 7,
    most_points: int = 25,
    force_tolerance_eV_per_A: float = 0.01,
    steps: int = 200,
) -> list[Quantity]:
    """Scale a crystal evenly, relax the atoms at each volume, and fit the Birch-Murnaghan equation.

    Only energies are needed, so that engines without stress can be used. The shape of the cell stays as it was
    given. An odd number of ``points``, at least 5, ``volume_step`` of the given volume apart, are fitted about the
    lowest energy; where that lies at the edge, further ones are added on that side, up to ``most_points``.

    Raises:
        NoAnswerError: not a crystal, or one that is held, no minimum within these volumes, or energies that no curve
            fits.
    """
    require_free_periodic(atoms, "an equation of state")
    half = points // 2
    energies: dict[int, float] = {}

    def energy(index: int) -> float:
        if index not in energies:
            if len(energies) == most_points or 1 + index * volume_step <= 0:
                raise NoAnswerError(f"the energy has no minimum within {_range(energies, volume_step)}")
            scaled = atoms.copy()
            scaled.set_cell(atoms.cell.array * (1 + index * volume_step) ** (1 / 3), scale_atoms=True)
            energies[index] = minimum(
                scaled, calculator, force_tolerance_eV_per_A=force_tolerance_eV_per_A, steps=steps
            ).energy_eV
        return energies[index]

    centre = 0
    while True:
        window = range(centre - half, centre + half + 1)
        lowest = min(window, key=energy)
        if abs(lowest - centre) < half - 1:  # two volumes at least on each side
            break
        centre = lowest
    volumes = np.array([1 + index * volume_step for index in window]) * atoms.get_volume() / len(atoms)
    return fitted(volumes, np.array([energies[index] for index in window]) / len(atoms))


def fitted(volumes: Array, energies: Array) -> list[Quantity]:
    """Fit the Birch-Murnaghan equation of state (F. Birch, Phys. Rev. 71, 809 (1947), in ASE's form).

    Args:
        volumes: (p,) Å³/atom.
        energies: (p,) eV/atom.

    Raises:
        NoAnswerError: no minimum inside the volumes, or no fit.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # scipy on covariances that are not used
            volume, _, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit(warn=False)
    except (RuntimeError, ValueError) as error:
        raise NoAnswerError(f"no equation of state fits the energies: {error}") from error
    if not (volumes.min() < volume < volumes.max() and np.isfinite(modulus)):
        raise NoAnswerError(f"the fitted minimum of {volume:.4g} Å³/atom lies outside the volumes that were calculated")
    return [
        Quantity("equilibrium volume per atom", "Å³/atom", float(volume)),
        Quantity("bulk modulus", "GPa", float(modulus / units.GPa)),
    ]


def _range(energies: dict[int, float], volume_step: float) -> str:
    low, high = 1 + min(energies) * volume_step, 1 + max(energies) * volume_step
    return f"{low:.2f} to {high:.2f} of the given volume"
