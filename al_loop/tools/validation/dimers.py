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
from al_loop.tools.validation.measurement import measured
from al_loop.tools.validation.quantity import Quantity
from al_loop.tools.validation.relax import energy_and_forces

CHECK = "dimers"
LEAST_ANSWERED = 0.5  # of the points: with fewer there is no curve
DISTANCES, DEPTHS = "distances of dimers", "depths of dimers"
# In units of the sum of covalent radii: the short ones of the promotion's criterion, those of bonds, a few far ones.
GRID = (*FRACTIONS, *(round(0.75 + 0.05 * i, 2) for i in range(26)), 2.25, 2.5, 3.0)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Curve:
    """A pair at growing distance.

    Attributes:
        distance_A: (p,) ascending.
        energy_eV: (p,) NaN where the calculator failed.
        repulsion_eV_per_A: (p,) positive where the atoms repel each other; NaN likewise.
        missing: reason of the first failure; empty if there was none.
    """

    distance_A: Array
    energy_eV: Array
    repulsion_eV_per_A: Array
    missing: str = ""

    @classmethod
    def of(cls, distance_A: Array, dimers_: Sequence[Atoms], calculator: Calculator) -> "_Curve":
        """Calculate each distance."""
        energy, repulsion = np.full(len(dimers_), np.nan), np.full(len(dimers_), np.nan)
        missing = ""
        for point, dimer in enumerate(dimers_):
            try:
                energy[point], forces = energy_and_forces(dimer, calculator)
            except NoAnswerError as error:
                missing = missing or f"none at {distance_A[point]:.2f} Å: {error}"
            else:
                repulsion[point] = forces[1, 2]
        return cls(distance_A, energy, repulsion, missing)

    def bottom(self) -> tuple[float, float]:
        """Distance (Å) and energy (eV) of the lowest minimum, on the cubic curve through energies and forces.

        Raises:
            NoAnswerError: the lowest point lies at an end, or too few points have values.
        """
        known = np.isfinite(self.energy_eV)
        if known.mean() < LEAST_ANSWERED:
            raise NoAnswerError(f"{known.sum()} of {len(known)}points have a value; {self.missing}")
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
        """Energy at the largest distance above that of the minimum, eV.

        Raises:
            NoAnswerError: no minimum, or no energy there.
        """
        if not np.isfinite(self.energy_eV[-1]):
            raise NoAnswerError(f"no energy of the separated atoms; {self.missing}")
        return float(self.energy_eV[-1]) - self.bottom()[1]

    def repelling_share(self) -> float:
        """Share of the short distances at which the atoms repel each other.

        Raises:
            NoAnswerError: some have no value.
        """
        short = self.repulsion_eV_per_A[: len(FRACTIONS)]
        if not np.isfinite(short).all():
            raise NoAnswerError(self.missing)
        return float(np.mean(short > 0))


def dimer_curves(
    structure: str,
    atoms: Atoms,
    calculator: Calculator,
    *,
    vacuum_A: float = 10.0,
) -> list[Quantity]:
    """For every pair of the structure's elements: equilibrium distance, well depth, and repulsion at short range.

    Distances run from 0.5 to 3 times the sum of covalent radii. The depth is the energy at the largest of them minus
    that of the minimum. Repulsion is the share of the distances from 0.5 to 0.7 at which the force is repulsive:
    1 for physical curves, since the shortest real bonds are at about 0.7 (multiply bonded transition metals at 0.6).

    Args:
        structure: its name.
        atoms: gives the elements; of a periodic structure the pair stands in a periodic box, so that an engine for
            crystals can calculate it, and of a molecule it stands alone.
        calculator: energy and forces.
        vacuum_A: between a pair and its images, at the largest distance.
    """
    found: list[Quantity] = []
    for first, second in combinations_with_replacement(sorted(set(atoms.numbers.tolist())), 2):
        pair = f"{chemical_symbols[first]}-{chemical_symbols[second]}"
        found += _of_pair(structure, pair, first, second, atoms, calculator, vacuum_A)
    return found


def _of_pair(
    structure: str, pair: str, first: int, second: int, atoms: Atoms, calculator: Calculator, vacuum_A: float
) -> list[Quantity]:
    distances = distances_A(first, second, GRID)
    placed = dimers(first, second, spin="spin" in atoms.info, fractions=GRID)
    if atoms.pbc.any():
        placed = [_in_box(dimer, vacuum_A, distances[-1] + vacuum_A) for dimer in placed]
    curve = _Curve.of(distances, placed, calculator)
    weakest = int(np.argmin(curve.repulsion_eV_per_A[: len(FRACTIONS)]))
    gaps = f"; {curve.missing}" if curve.missing else ""
    told = (
        (f"{pair} distance", "Å", DISTANCES, lambda: curve.bottom()[0], gaps),
        (f"{pair} well depth", "eV", DEPTHS, curve.depth, f"against {distances[-1]:.1f} Å{gaps}"),
        (
            f"{pair} repels at short range",
            "",
            "",
            curve.repelling_share,
            f"weakest at {distances[weakest]:.2f} Å: {curve.repulsion_eV_per_A[weakest]:+.1f} eV/Å",
        ),
    )
    return [
        measured(CHECK, structure, name, unit, measure, order_group=group, note=note.removeprefix("; "))
        for name, unit, group, measure, note in told
    ]


def _in_box(dimer: Atoms, width_A: float, length_A: float) -> Atoms:
    """The same box for all distances, so that the basis of plane waves is the same."""
    dimer.set_cell([width_A, width_A, length_A])
    dimer.center()
    dimer.pbc = True
    return dimer
