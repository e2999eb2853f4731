"""Checks of a structure that every engine makes before it starts."""

import numpy as np
from ase import Atoms

from dft_interfaces.bounds import charge_excess, length_excess, structure_excess

MIN_DISTANCE_A = 0.2
"""For closer contacts engines return meaningless numbers (GPAW did so at 0.05 Å)."""


class CannotCalculateError(Exception):
    """This structure cannot be calculated at these settings; it becomes a rejected label."""


def require_computable(atoms: Atoms) -> None:
    """Check that an electronic-structure method could calculate a structure.

    Raises:
        CannotCalculateError: no atoms, unknown elements, non-finite numbers, numbers beyond ``dft_interfaces.bounds``,
            a periodic cell whose planes are closer than ``MIN_DISTANCE_A`` (the neighbour search would not end), or two
            atoms closer than that.
    """
    if len(atoms) == 0:
        raise CannotCalculateError("received a structure without atoms")
    if (atoms.numbers < 1).any():
        raise CannotCalculateError("received an atom without an element (atomic number 0, symbol X)")
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise CannotCalculateError("received positions or a cell with non-finite numbers")
    if not np.isfinite(atoms.get_initial_magnetic_moments()).all():
        raise CannotCalculateError("received initial magnetic moments with non-finite numbers")
    if excess := length_excess(atoms):
        raise CannotCalculateError(excess)
    if _min_spacing_A(atoms) < MIN_DISTANCE_A:
        raise CannotCalculateError(
            f"received a flat cell for periodic directions (lengths {np.round(atoms.cell.lengths(), 4).tolist()} Å, "
            f"pbc {atoms.pbc.tolist()})"
        )
    if excess := structure_excess(atoms):
        raise CannotCalculateError(excess)
    from ase.neighborlist import neighbor_list  # loads scipy, which not every command needs

    close = neighbor_list("d", atoms, MIN_DISTANCE_A)
    if len(close) > 0:
        raise CannotCalculateError(
            f"received two atoms {close.min():.3f} Å apart; no basis set or pseudopotential is made for distances "
            f"below {MIN_DISTANCE_A} Å"
        )


def _min_spacing_A(atoms: Atoms) -> float:
    """Return the least distance, Å, between lattice planes, or rows, of the periodic directions; infinite without."""
    vectors = atoms.cell.array[atoms.pbc]
    if len(vectors) == 0:
        return float(np.inf)
    if np.linalg.matrix_rank(vectors) < len(vectors):
        return 0.0
    return float(1.0 / np.linalg.norm(np.linalg.pinv(vectors), axis=0).max())


def charge_and_multiplicity(atoms: Atoms) -> tuple[int, int]:
    """Read total charge (e) and spin multiplicity (2S + 1) from ``atoms.info``.

    ``charge`` defaults to 0 and ``spin`` to the lowest multiplicity that the electron count allows.

    Raises:
        CannotCalculateError: not whole numbers, a charge that leaves no electron or adds more than there are protons,
            or a multiplicity that this number of electrons cannot have.
    """
    charge = _whole_number("charge", atoms.info.get("charge", 0))
    protons = int(atoms.numbers.sum())
    electrons = protons - charge
    excess = charge_excess(protons, charge)
    if excess:
        raise CannotCalculateError(excess)
    lowest = lowest_multiplicity(electrons)
    given = atoms.info.get("spin")
    multiplicity = lowest if given is None else _whole_number("spin", given)
    if not multiplicity_exists(electrons, multiplicity):
        raise CannotCalculateError(
            f"received spin multiplicity {multiplicity} for {electrons} electrons (charge {charge:+d}); expected one "
            f"of {lowest}, {lowest + 2}, ...: set info['spin'] (2S + 1) or the charge"
        )
    return charge, multiplicity


def lowest_multiplicity(electrons: int) -> int:
    """Return the spin multiplicity with at most one unpaired electron."""
    return 1 + electrons % 2


def multiplicity_exists(electrons: int, multiplicity: int) -> bool:
    """Whether so many electrons can have a spin multiplicity 2S + 1."""
    lowest = lowest_multiplicity(electrons)
    return lowest <= multiplicity <= electrons + 1 and (multiplicity - lowest) % 2 == 0


def _whole_number(key: str, value: object) -> int:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not number.is_integer():
        raise CannotCalculateError(f"received info['{key}'] = {value!r}, expected a whole number")
    return int(number)
