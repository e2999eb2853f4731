"""Estimated energies of spin flips, atomic moments and spin contamination of a solution."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.units import Hartree
from numpy.typing import NDArray
from pyscf.scf.uhf import mulliken_spin_pop

CONTAMINATION = 0.1
"""Deviation of ⟨S²⟩ from S(S + 1) above which a label carries a remark."""

_Orbitals = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class SpinFlips:
    """Energies of promoting one electron into an orbital of the other spin, eV; infinite where that is impossible.

    Attributes:
        up_eV: to the next higher multiplicity.
        down_eV: to the next lower one.
    """

    up_eV: float = np.inf
    down_eV: float = np.inf


def spin_flips(mean_field: Any) -> SpinFlips:
    """Estimate the energy of a spin flip: the difference of orbital energies less the electron-hole attraction.

    Hartree-Fock's difference lacks the attraction between the electron and the hole it leaves, a Coulomb integral;
    a hybrid's lacks its share of it. This is a screening estimate, not a number to report: compared with the
    difference of two self-consistent energies its error was up to 2.3 eV for H2 and 3.1 eV for O2 in PBE, 1.6 eV for
    H2 in PBE0. In a contaminated solution opposite spins are separated in space, so a flip costs nothing.
    """
    if mean_field.mo_energy.ndim == 1:
        orbitals = mean_field.mo_energy, mean_field.mo_coeff, mean_field.mo_occ
        return SpinFlips(up_eV=_promotion_eV(mean_field, orbitals, orbitals))
    up, down = zip(mean_field.mo_energy, mean_field.mo_coeff, mean_field.mo_occ, strict=True)
    up_eV = 0.0 if contamination_remark(mean_field) else _promotion_eV(mean_field, down, up)
    # Without an electron of that spin its orbital energies do not estimate the cost of one.
    down_eV = _promotion_eV(mean_field, up, down) if (down[2] > 0).any() else 0.0
    return SpinFlips(up_eV, down_eV)


def atomic_moments_uB(mean_field: Any) -> NDArray[np.float64] | None:
    """Return Mulliken spin populations (n,) in µB, None for a restricted calculation."""
    if mean_field.mo_occ.ndim == 1:
        return None
    _, moments = mulliken_spin_pop(mean_field.mol, mean_field.make_rdm1(), mean_field.get_ovlp(), verbose=0)
    return np.asarray(moments)


def contamination_remark(mean_field: Any) -> str:
    """Return a remark on the spin contamination of an unrestricted solution; empty if it is small."""
    square, _ = mean_field.spin_square()
    spin = mean_field.mol.spin / 2
    if abs(square - spin * (spin + 1)) < CONTAMINATION:
        return ""
    return f"spin contamination: <S^2> is {square:.2f}, {spin * (spin + 1):.2f} for a pure spin state"


def _promotion_eV(mean_field: Any, from_spin: _Orbitals, to_spin: _Orbitals) -> float:
    occupied, empty = from_spin[2] > 0, to_spin[2] == 0
    if not (occupied.any() and empty.any()):
        return float(np.inf)
    hole = np.flatnonzero(occupied)[from_spin[0][occupied].argmax()]
    particle = np.flatnonzero(empty)[to_spin[0][empty].argmin()]
    difference = to_spin[0][particle] - from_spin[0][hole]
    attraction = _attraction(mean_field, from_spin[1][:, hole], to_spin[1][:, particle])
    return float((difference - attraction) * Hartree)


def _attraction(mean_field: Any, hole: NDArray[np.float64], particle: NDArray[np.float64]) -> float:
    """Return the functional's share of exact exchange of the Coulomb integral between two orbitals, Hartree."""
    omega, long_range, share = mean_field._numint.rsh_and_hybrid_coeff(mean_field.xc)
    density, attraction = np.outer(hole, hole), 0.0
    if share:
        attraction += share * (particle @ mean_field.get_j(mean_field.mol, density) @ particle)
    if omega:
        screened = mean_field.get_j(mean_field.mol, density, omega=omega)
        attraction += (long_range - share) * (particle @ screened @ particle)
    return float(attraction)
