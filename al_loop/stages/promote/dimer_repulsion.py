"""Promotion by dimers: two isolated atoms repel each other at short range, as under the foundation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, islice

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray

from al_loop.gate.beside_foundation import predict_each_beside
from al_loop.stages.promote.criterion import Criterion
from committee.potential import CommitteePotential
from committee.prediction import Prediction

NAME = "dimers repel"
# Distances in units of the sum of covalent radii. The tightest bonds end at 0.77 (N2) and 0.79 (CO), multiply bonded
# transition metals (Cr2, Mo2) at 0.6, where the foundation itself attracts. Below 0.5 foundations are unreliable:
# SevenNet-0 attracts Si2 and Cr2 there, other pairs from 0.4 on.
FRACTIONS = (0.50, 0.54, 0.58, 0.62, 0.66, 0.70)
WORSE = 1.1  # largest allowed attraction in units of the foundation's
SLACK = 0.02  # eV/Å or eV: smaller differences are not counted

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """One pair of elements at growing distance.

    Attributes:
        pair: for example ``C-O``.
        distance_A: (p,) ascending.
        force: (p,) eV/Å, positive where the atoms repel each other.
        energy: (p,) eV, up to a constant.
        foundation_force: (p,) the same of the foundation.
        foundation_energy: (p,).
    """

    pair: str
    distance_A: Array
    force: Array
    energy: Array
    foundation_force: Array
    foundation_energy: Array

    @property
    def excess(self) -> float:
        """Largest excess attraction in force (eV/Å) or energy step (eV); 0 or less if there is none."""
        rise, foundation_rise = -np.diff(self.energy), -np.diff(self.foundation_energy)
        lacking = np.concatenate([_lacking(self.force, self.foundation_force), _lacking(rise, foundation_rise)])
        return float(np.nan_to_num(lacking, nan=np.inf).max())


def repulsion(
    candidate: CommitteePotential,
    elements: Iterable[int],
    foundation: CommitteePotential | None = None,
    *,
    spin: bool = False,
) -> Criterion:
    """Check that every pair of elements repels at short range, or attracts no more than under the foundation.

    The ``foundation`` is that before any adaptation; None for that of the candidate. With ``spin`` it requires charge
    and spin multiplicity; the lowest multiplicity is used.
    """
    pairs = list(combinations_with_replacement(sorted(set(elements)), 2))
    frames = [atoms for a, b in pairs for atoms in dimers(a, b, spin=spin)]
    predictions = iter(predict_each_beside(candidate, foundation, frames))
    curves, refused = [], []
    for a, b in pairs:
        pair = f"{chemical_symbols[a]}-{chemical_symbols[b]}"
        group = [one for one in islice(predictions, len(FRACTIONS)) if isinstance(one, Prediction)]
        if len(group) < len(FRACTIONS):
            refused.append(pair)
        else:
            curves.append(_curve(pair, distances_A(a, b), group))
    bad = sorted((curve for curve in curves if curve.excess > 0), key=lambda curve: -curve.excess)
    return Criterion(NAME, not bad, float(len(bad)), 0.0, _sentence(curves, bad, refused))


def dimers(a: int, b: int, *, spin: bool = False, fractions: Sequence[float] = FRACTIONS) -> list[Atoms]:
    """Two atoms without a cell at all distances; with charge 0 and the lowest multiplicity if ``spin``."""
    info = {"charge": 0, "spin": 1 + (a + b) % 2} if spin else {}
    return [Atoms([a, b], positions=[[0, 0, 0], [0, 0, d]], info=dict(info)) for d in distances_A(a, b, fractions)]


def distances_A(a: int, b: int, fractions: Sequence[float] = FRACTIONS) -> Array:
    """Distances of two atoms (p,), Å, from fractions of the sum of their covalent radii."""
    distances: Array = np.array(fractions) * (covalent_radii[a] + covalent_radii[b])
    return distances


def _curve(pair: str, distances_A: Array, predictions: Sequence[Prediction]) -> Curve:
    bare = [p.foundation_forces if p.foundation_forces is not None else np.full((2, 3), np.nan) for p in predictions]
    return Curve(
        pair,
        distances_A,
        np.array([p.forces[1, 2] for p in predictions]),
        np.array([p.energy for p in predictions]),
        np.array([forces[1, 2] for forces in bare]),
        np.array([p.foundation_energy for p in predictions]),
    )


def _lacking(value: Array, foundation: Array) -> Array:
    """Amount below the allowed minimum: zero, or 1.1 times the foundation's attraction where it attracts."""
    allowed = np.where(foundation > 0, 0.0, WORSE * foundation - SLACK)
    return allowed - value


def _sentence(curves: Sequence[Curve], bad: Sequence[Curve], refused: Sequence[str]) -> str:
    low, high = FRACTIONS[0], FRACTIONS[-1]
    where = f"from {low:g} to {high:g} of the sum of covalent radii"
    text = f"{len(bad)} of {len(curves)} pairs attract {where} (none may attract more than under the foundation)"
    if bad:
        worst = bad[0]
        at = int(np.argmin(worst.force - worst.foundation_force))
        text += (
            f"; {worst.pair} at {worst.distance_A[at]:.2f} Å: {worst.force[at]:.1f} eV/Å, "
            f"the foundation {worst.foundation_force[at]:.1f}"
        )
        if len(bad) > 1:
            text += f"; also {', '.join(curve.pair for curve in bad[1:])}"
    if refused:
        text += f"; not checked, since the foundation refuses them: {', '.join(refused)}"
    return text
