"""Absolute bounds on structures and labels: the one table, with a physical reason for each number.

A number beyond its bound is a unit, sign or digit error in any system. A number within it may still be wrong for this
system: labels are also compared with each other and with the foundation.
"""

import numpy as np
from ase import Atoms
from ase.units import GPa
from numpy.typing import NDArray

MAX_LENGTH_A = 1e5
"""Bound on lattice vectors and coordinates: the models' single precision resolves 0.01 Å there."""

MIN_VOLUME_A3_PER_ATOM = 0.5
"""Of a cell that is periodic in three directions; metallic hydrogen at 1 TPa has 0.9 Å³ per atom."""

MAX_FORCE_EV_PER_A = 1e4
"""Two unscreened carbon nuclei at 0.4 Å repel each other with 3,000 eV/Å; no real force is far above that."""

MAX_STRESS_EV_PER_A3 = 1e4 * GPa
"""10 TPa (62 eV/Å³) for each component: more than twice the pressure at the centre of Jupiter."""

MAX_MOMENT_UB = 20.0
"""Initial or converged moment of an atom: half-filled f, d, p and s shells together hold 16 unpaired electrons."""

THOMAS_FERMI_EV = 20.92
"""An atom's all-electron total energy is about -20.92 eV Z^(7/3); no code has a lower energy zero."""

ENERGY_ALLOWANCE_EV = 1e4
"""Added per atom: for close contacts (the largest force over 1 Å) and for the arbitrary zero of a force field."""


def largest_energy_eV(numbers: NDArray[np.int64]) -> float:
    """Return the bound on the magnitude of a total energy, eV: twice that of the free atoms, plus the allowance.

    Args:
        numbers: (n,) atomic numbers.
    """
    return float((2 * THOMAS_FERMI_EV * np.asarray(numbers, dtype=np.float64) ** (7 / 3) + ENERGY_ALLOWANCE_EV).sum())


def structure_excess(atoms: Atoms) -> str:
    """Return which number of a structure exceeds its bound and what is expected, in one clause; empty if none does."""
    return nuclei_excess(atoms) or charge_excess(int(atoms.numbers.sum()), atoms.info.get("charge", 0))


def nuclei_excess(atoms: Atoms) -> str:
    """Do as ``structure_excess``, without the check of the charge."""
    return length_excess(atoms) or density_excess(atoms) or initial_moment_excess(atoms)


def length_excess(atoms: Atoms) -> str:
    """Return which coordinate or lattice vector is too long, in one clause; empty if none is."""
    longest = max(_largest(atoms.positions), _largest(atoms.cell.array))
    if longest > MAX_LENGTH_A:
        return (
            f"received a length of {longest:.3g} Å, expected positions and lattice vectors up to {MAX_LENGTH_A:g} Å: "
            "models resolve nothing beyond"
        )
    return ""


def density_excess(atoms: Atoms) -> str:
    """Return that a cell periodic in three directions is too small for its atoms, in one clause; empty if it is not."""
    if atoms.pbc.all() and len(atoms) and np.isfinite(atoms.cell.array).all():
        volume = float(abs(np.linalg.det(atoms.cell.array))) / len(atoms)
        if 0 < volume < MIN_VOLUME_A3_PER_ATOM:
            return (
                f"received a cell of {volume:.2g} Å³ per atom, expected at least {MIN_VOLUME_A3_PER_ATOM:g} Å³: "
                "no matter is denser"
            )
    return ""


def initial_moment_excess(atoms: Atoms) -> str:
    """Return which initial magnetic moment is too large, in one clause; empty if none is."""
    moments = atoms.get_initial_magnetic_moments() if atoms.has("initial_magmoms") else np.zeros(1)
    return _moment_excess("an initial magnetic moment", moments)


def charge_excess(protons: int, charge: object) -> str:
    """Return why no structure of so many protons has this total charge, in one clause; empty if one may.

    A cation keeps at least one electron, and no anion has more than twice the electrons of its neutral atoms (H⁻ has
    exactly that). A charge that is not a number is not checked here.

    Args:
        protons: sum of the atomic numbers.
        charge: e.
    """
    if not isinstance(charge, int | float | np.number):
        return ""
    try:
        value = float(charge)
    except OverflowError:
        value = float("inf")
    if np.isnan(value) or -protons <= value < protons:
        return ""
    return (
        f"received charge {value:+g}, which leaves {protons - value:g} electrons to {protons} protons; expected a "
        f"charge from {-protons:+d} to {protons - 1:+d}"
    )


def label_excess(
    atoms: Atoms,
    energy_eV: float,
    forces_eV_per_A: NDArray[np.float64],
    stress_eV_per_A3: NDArray[np.float64] | None = None,
    magnetic_moments_uB: NDArray[np.float64] | None = None,
) -> str:
    """Return which number of a label exceeds its bound and what is expected, in one clause; empty if none does.

    NaN marks a missing number and is within every bound.

    Args:
        atoms: n atoms.
        energy_eV: total energy.
        forces_eV_per_A: (n, 3).
        stress_eV_per_A3: (6,).
        magnetic_moments_uB: (n,) of the atoms.
    """
    largest = largest_energy_eV(atoms.numbers)
    if abs(energy_eV) > largest:
        return (
            f"received a total energy of {energy_eV:.3g} eV, expected at most {largest:.2g} eV in size for "
            f"{atoms.get_chemical_formula()}: twice what all electrons of its atoms have, and "
            f"{ENERGY_ALLOWANCE_EV:g} eV for each atom"
        )
    with np.errstate(over="ignore"):  # infinite is beyond the bound as well
        sizes = np.hypot.reduce(np.asarray(forces_eV_per_A), axis=1)
    if _largest(sizes) > MAX_FORCE_EV_PER_A:
        return (
            f"received a force of {np.nanmax(sizes):.2g} eV/Å on atom {np.nanargmax(sizes)}, expected at most "
            f"{MAX_FORCE_EV_PER_A:g} eV/Å: bare nuclei at 0.4 Å do not repel each other so much"
        )
    if stress_eV_per_A3 is not None and _largest(stress_eV_per_A3) > MAX_STRESS_EV_PER_A3:
        return (
            f"received a stress of {_largest(stress_eV_per_A3):.2g} eV/Å³, expected at most "
            f"{MAX_STRESS_EV_PER_A3:.2g} eV/Å³ (10 TPa): more than twice the pressure at the centre of Jupiter"
        )
    return "" if magnetic_moments_uB is None else _moment_excess("a magnetic moment", magnetic_moments_uB)


def _moment_excess(what: str, moments_uB: NDArray[np.float64]) -> str:
    largest = _largest(moments_uB)
    if largest <= MAX_MOMENT_UB:
        return ""
    return (
        f"received {what} of {largest:.3g} µB, expected at most {MAX_MOMENT_UB:g} µB: no atom has so many unpaired "
        "electrons"
    )


def _largest(values: NDArray[np.float64]) -> float:
    """Return the largest magnitude, ignoring NaN; 0 without any number."""
    sizes = np.abs(np.asarray(values, dtype=np.float64))
    return float(np.fmax.reduce(sizes, axis=None, initial=0.0))
