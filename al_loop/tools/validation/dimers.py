"""Check ``dimers``: isolated pairs of atoms from repulsion to separation."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline

from al_loop.errors import NoAnswerError
from al_loop.stages.promote.dimer_repulsion import FRACTIONS, dimers, distances_A
from al_loop.tools.validation.quantity import Quantity, measured
from al_loop.tools.validation.relax import energy_and_forces

LEAST_KNOWN = 0.5  # of the points: with fewer there is no curve
DISTANCES, DEPTHS = "distances of dimers", "depths of dimers"
# In units of the sum of covalent radii: the short ones of the promotion's criterion, those of bonds, a few far ones.
GRID = (*FRACTIONS, *(round(0.75 + 0.05 * i, 2) for i in range(26)), 2.25, 2.5, 3.0)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Curve:
    """A pair at growing distance: energy, and repulsion (positive where the atoms repel each other), (p,) each.

    Both are NaN where the calculator failed; ``missing`` is the reason of the first failure.
    """

    distance_A: Array
    energy_eV: Array
    repulsion_eV_per_A: Array
    missing: str = ""

    def bottom(self) -> tuple[float, float]:
        """Distance (Å) and energy (eV) of the lowest minimum, on the cubic curve through energies and forces.

        Raises:
            NoAnswerError: the lowest point lies at an end, or too few points have values.
        """
        known = np.isfinite(self.energy_eV)
        if known.mean() < LEAST_KNOWN:
            raise NoAnswerError(f"{known.sum()} of {len(known)} points have a value; {self.missing}")
        distance, energy = self.distance_A[known], self.energy_eV[known]
        curve = CubicHermiteSpline(distance, energy, -self.repulsion_eV_per_A[known])
        level = curve.derivative().roots(extrapolate=False)
        bottoms = level[np.isfinite(level) & (curve(level, 2) > 0)]
        if not bottoms.size or curve(bottoms).min() > energy[[0, -1]].min():
            end = "closest" if energy[0] < energy[-1] else "farthest"
            raise NoAnswerError(
                f"no minimum between {distance[0]:.2f} and {distance[-1]:.2f} Å: the {end} is the lowest point"
            )
        best = bottoms[np.argmin(curve(bottoms))]
        return float(best), float(curve(best))

    def depth(self) -> float:
        """Energy at the largest distance above that of the minimum, eV."""
        if not np.isfinite(self.energy_eV[-1]):
            raise NoAnswerError(f"no energy of the separated atoms; {self.missing}")
        return float(self.energy_eV[-1]) - self.bottom()[1]

    def repelling_share(self) -> float:
        """Share of the short distances at which the atoms repel each other."""
        short = self.repulsion_eV_per_A[: len(FRACTIONS)]
        if not np.isfinite(short).all():
            raise NoAnswerError(self.missing)
        return float(np.mean(short > 0))


def _calculated(distance_A: Array, pairs: Sequence[Atoms], calculator: Calculator) -> _Curve:
    energy, repulsion = np.full(len(pairs), np.nan), np.full(len(pairs), np.nan)
    missing = ""
    for point, atoms in enumerate(pairs):
        try:
            energy[point], forces = energy_and_forces(atoms, calculator)
        except NoAnswerError as error:
            missing = missing or f"none at {distance_A[point]:.2f} Å: {error}"
        else:
            repulsion[point] = forces[1, 2]
    return _Curve(distance_A, energy, repulsion, missing)


def dimer_curves(atoms: Atoms, calculator: Calculator, *, vacuum_A: float = 10.0) -> list[Quantity]:
    """For every pair of the structure's elements: equilibrium distance, well depth, and repulsion at short range.

    Distances run from 0.5 to 3 times the sum of covalent radii. The depth is the energy at the largest of them minus
    that of the minimum. Repulsion is the share of the distances from 0.5 to 0.7 at which the force is repulsive:
    1 for physical curves, since the shortest real bonds are at about 0.7 (multiply bonded transition metals at 0.6).

    For a periodic structure the pair stands in a periodic box, with ``vacuum_A`` between images at the largest
    distance, so that an engine for crystals can calculate it; for a molecule it stands alone.
    """
    elements = sorted(set(atoms.numbers.tolist()))
    return [
        quantity
        for first, second in combinations_with_replacement(elements, 2)
        for quantity in _of_pair(first, second, atoms, calculator, vacuum_A)
    ]


def _of_pair(first: int, second: int, atoms: Atoms, calculator: Calculator, vacuum_A: float) -> list[Quantity]:
    pair = f"{chemical_symbols[first]}-{chemical_symbols[second]}"
    distances = distances_A(first, second, GRID)
    placed = dimers(first, second, spin="spin" in atoms.info, fractions=GRID)
    if atoms.pbc.any():
        placed = [_in_box(dimer, vacuum_A, distances[-1] + vacuum_A) for dimer in placed]
    curve = _calculated(distances, placed, calculator)
    weakest = int(np.argmin(curve.repulsion_eV_per_A[: len(FRACTIONS)]))
    gaps = f"; {curve.missing}" if curve.missing else ""
    far = f"against {distances[-1]:.1f} Å{gaps}"
    at_weakest = f"weakest at {distances[weakest]:.2f} Å: {curve.repulsion_eV_per_A[weakest]:+.1f} eV/Å"
    return [
        measured(f"{pair} distance", "Å", lambda: curve.bottom()[0], order_group=DISTANCES, note=curve.missing),
        measured(f"{pair} well depth", "eV", curve.depth, order_group=DEPTHS, note=far),
        measured(f"{pair} repels at short range", "", curve.repelling_share, note=at_weakest),
    ]


def _in_box(dimer: Atoms, width_A: float, length_A: float) -> Atoms:
    """The same box for all distances, so that the basis of plane waves is the same."""
    dimer.set_cell([width_A, width_A, length_A])
    dimer.center()
    dimer.pbc = True
    return dimer
