"""Differences between two labels of equal or nearly equal geometries, as a message if they are too large."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from ase.units import GPa
from numpy.typing import NDArray

from al_loop.files.labels.near_geometries import NearPair
from al_loop.records import Frame

Array = NDArray[np.float64]

LARGEST_UNKNOWN_FORCE_EV_PER_A: Final = 10.0
LARGEST_UNKNOWN_STRESS_EV_PER_A3: Final = 0.3
STIFFNESS_EV_PER_A2: Final = 100.0  # of the stiffest bonds, such as those of N2 and CO
STIFFNESS_PER_FORCE_PER_A: Final = 10.0  # repulsion at a close contact falls by e over some tenths of an Å

ROUNDING: Final = 1e-6  # of a limit, so that what is on it is not above it


@dataclass(frozen=True)
class Allowed:
    """Largest accepted differences between two labels."""

    energy_eV_per_atom: float
    force_eV_per_A: float
    stress_eV_per_A3: float


EQUAL: Final = Allowed(1e-3, 5e-3, 0.1 * GPa)
"""What two calculations of one geometry differ by at most: 1 meV/atom, 5 meV/Å for each atom's force, 0.1 GPa."""

NEARLY: Final = Allowed(5e-3, 25e-3, np.inf)
"""What two calculations of almost one geometry differ by besides what their distance explains."""


def difference(one: Frame, other: Frame, order: NDArray[np.int64], allowed: Allowed = EQUAL) -> str:
    """Return a message on the difference of two labels; empty if all common parts agree within the limits.

    Args:
        one: of n atoms.
        other: the same atoms.
        order: (n,) indices that put the atoms of the other in the order of the first.
        allowed: largest accepted differences.
    """
    said = []
    edge = 1 + ROUNDING
    energy = (other.energy_eV - one.energy_eV) / len(one.atoms)
    if abs(energy) > allowed.energy_eV_per_atom * edge:
        said.append(
            f"energies of {one.energy_eV:.6g} and {other.energy_eV:.6g} eV ({1000 * abs(energy):.3g} meV/atom apart)"
        )
    apart = np.linalg.norm(other.forces_eV_per_A[order] - one.forces_eV_per_A, axis=1)
    if (apart > allowed.force_eV_per_A * edge).any():
        said.append(f"forces that are {np.nanmax(apart):.3g} eV/Å apart on atom {int(np.nanargmax(apart))}")
    stress = np.abs(other.stress_eV_per_A3 - one.stress_eV_per_A3)
    if (stress > allowed.stress_eV_per_A3 * edge).any():
        said.append(f"stresses that are {np.nanmax(stress) / GPa:.3g} GPa apart")
    return ", ".join(said)


def explained(one: Frame, other: Frame, pair: NearPair, base: Allowed) -> Allowed:
    """Return the accepted difference of labels of two close geometries: their distance times forces and stiffness.

    A force is taken to change by no more than the stiffest bonds or close contacts have it, and the energy by force
    times move, to the second order.

    Args:
        one: the first of the pair.
        other: the second.
        pair: their distance.
        base: accepted differences at zero distance.
    """
    forces = np.fmax(_sizes(one.forces_eV_per_A), _sizes(other.forces_eV_per_A[pair.order]))
    forces = np.where(np.isfinite(forces), forces, LARGEST_UNKNOWN_FORCE_EV_PER_A)
    moves = _sizes(pair.moves_A)
    stiffness = max(STIFFNESS_EV_PER_A2, STIFFNESS_PER_FORCE_PER_A * float(forces.max()))
    energy = float(forces @ moves + stiffness / 2 * (moves @ moves)) + _work_of_strain(one, other, pair)
    return Allowed(
        base.energy_eV_per_atom + energy / len(moves),
        base.force_eV_per_A + stiffness * pair.distance_A,
        base.stress_eV_per_A3,
    )


def _work_of_strain(one: Frame, other: Frame, pair: NearPair) -> float:
    if not pair.strain.any():
        return 0.0
    stress = np.fmax(np.abs(one.stress_eV_per_A3), np.abs(other.stress_eV_per_A3))
    largest = float(stress.max()) if np.isfinite(stress).all() else LARGEST_UNKNOWN_STRESS_EV_PER_A3
    volume = one.atoms.get_volume() if one.atoms.cell.rank == len(pair.strain) else 0.0
    return largest * volume * float(np.abs(pair.strain).sum())


def _sizes(vectors: Array) -> Array:
    return np.asarray(np.linalg.norm(vectors, axis=1))
