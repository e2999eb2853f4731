"""The last check of a label before it may enter training."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from dft_interfaces.bounds import label_excess, structure_excess
from dft_interfaces.label import Failure, Label, LabelStatus, LevelOfTheory

NET_FORCE_TOLERANCE_EV_PER_A = 0.1
"""Net force allowed on any structure: grid noise and egg-box forces of sound calculations stay well below."""

NET_FORCE_FRACTION = 0.02
"""Additional net force allowed, as a fraction of the largest force: grid noise grows with the forces."""

BOND_FACTOR = 1.3
"""Atoms closer than this times the sum of their covalent radii count as bonded."""

BALANCED_A = 0.01
"""The bonds of an atom balance each other, as in a perfect crystal, if their vector sum is shorter than this."""

STRESS_COMPONENTS = 6


@dataclass(frozen=True)
class Flaw:
    """Why the numbers of a label may not be trained on."""

    failure: Failure
    reason: str


def checked(label: Label, atoms: Atoms, level: LevelOfTheory) -> Label:
    """Return the label unchanged if it may be trained on, else a rejected label whose message gives the reason.

    Labels that are not converged pass unchanged: they carry no numbers.
    """
    if label.status is not LabelStatus.CONVERGED:
        return label
    found = defect(label, atoms, level.fingerprint)
    return label if found is None else rejected(label, found)


def defect(label: Label, atoms: Atoms, level: str) -> Flaw | None:
    """Return why a converged label may not be trained on, None if it may.

    Args:
        label: of any origin.
        atoms: the structure it belongs to.
        level: fingerprint of the level of theory that it must have.
    """
    return flaw(label, atoms, level) or _net_force_problem(label) or _no_force_problem(label, atoms)


def flaw(label: Label, atoms: Atoms, level: str) -> Flaw | None:
    """Return why the numbers of a converged label do not fit this structure and level, None if they do."""
    found = chain(_flaws(label, len(atoms), level), _flaws_of_extras(label, len(atoms)))
    return next(found, None) or _excess(label, atoms)


def rejected(label: Label, found: Flaw) -> Label:
    """Turn a label into a rejected one: the numbers are removed, cost and level stay."""
    return replace(
        label,
        status=LabelStatus.REJECTED,
        energy_eV=None,
        forces_eV_per_A=None,
        stress_eV_per_A3=None,
        magnetic_moments_uB=None,
        failure=found.failure,
        message=f"{found.reason}\n{label.message}".strip(),
    )


def _flaws(label: Label, atom_count: int, level: str) -> Iterator[Flaw]:
    forces = label.forces_eV_per_A
    if label.level_of_theory != level:
        yield Flaw(
            Failure.OUTPUT,
            f"received a label of level of theory {label.level_of_theory}, expected {level}; levels never mix",
        )
    if label.energy_eV is None:
        yield Flaw(Failure.OUTPUT, "received no energy, expected a number in eV")
    elif not np.isfinite(label.energy_eV):
        yield Flaw(Failure.NOT_FINITE, f"received the energy {label.energy_eV}, expected a finite number in eV")
    if forces is None:
        yield Flaw(Failure.OUTPUT, "received no forces, expected one force for each atom")
    elif np.shape(forces) != (atom_count, 3):
        yield Flaw(
            Failure.OUTPUT,
            f"received forces of shape {np.shape(forces)}, expected ({atom_count}, 3) for {atom_count} atoms",
        )
    elif len(bad := np.flatnonzero(~np.isfinite(forces).all(axis=1))):
        yield Flaw(
            Failure.NOT_FINITE,
            f"received non-finite forces on atoms {bad[:10].tolist()}, expected finite numbers in eV/Å",
        )


def _flaws_of_extras(label: Label, atom_count: int) -> Iterator[Flaw]:
    stress, moments = label.stress_eV_per_A3, label.magnetic_moments_uB
    if stress is not None and np.shape(stress) != (STRESS_COMPONENTS,):
        yield Flaw(
            Failure.OUTPUT, f"received a stress of shape {np.shape(stress)}, expected (6,): Voigt xx yy zz yz xz xy"
        )
    elif stress is not None and not np.isfinite(stress).all():
        yield Flaw(
            Failure.NOT_FINITE, f"received the stress {np.asarray(stress).tolist()}, expected finite numbers in eV/Å³"
        )
    if moments is not None and np.shape(moments) != (atom_count,):
        yield Flaw(Failure.OUTPUT, f"received magnetic moments of shape {np.shape(moments)}, expected ({atom_count},)")
    elif moments is not None and not np.isfinite(moments).all():
        yield Flaw(Failure.NOT_FINITE, "received magnetic moments that are not finite, expected numbers in µB")


def _excess(label: Label, atoms: Atoms) -> Flaw | None:
    """Find a finite number beyond the bounds of any system (``dft_interfaces.bounds``)."""
    if label.energy_eV is None or label.forces_eV_per_A is None:
        return None
    found = structure_excess(atoms) or label_excess(
        atoms, label.energy_eV, label.forces_eV_per_A, label.stress_eV_per_A3, label.magnetic_moments_uB
    )
    return Flaw(Failure.OUTLIER, found) if found else None


def _no_force_problem(label: Label, atoms: Atoms) -> Flaw | None:
    """Distinguish forces that were never calculated from those of a perfect crystal, which are zero too."""
    if label.forces_eV_per_A is None or label.forces_eV_per_A.any() or not atoms.numbers.all():
        return None
    from ase.neighborlist import neighbor_list  # loads much of scipy, which reading a ledger does not need

    first, bond = neighbor_list("iD", atoms, (BOND_FACTOR * covalent_radii[atoms.numbers]).tolist())
    sums = np.zeros((len(atoms), 3))
    np.add.at(sums, first, bond)
    unbalanced = np.flatnonzero(np.linalg.norm(sums, axis=1) > BALANCED_A)
    if len(unbalanced) == 0:
        return None
    return Flaw(
        Failure.OUTPUT,
        f"received forces that are exactly zero, expected forces at least on atoms {unbalanced[:10].tolist()}, "
        "whose bonds do not balance: the engine calculated none",
    )


def _net_force_problem(label: Label) -> Flaw | None:
    forces = label.forces_eV_per_A
    if forces is None or len(forces) == 0:
        return None
    net = float(np.linalg.norm(forces.sum(axis=0)))
    allowed = NET_FORCE_TOLERANCE_EV_PER_A + NET_FORCE_FRACTION * float(np.linalg.norm(forces, axis=1).max())
    if net <= allowed:
        return None
    return Flaw(
        Failure.NET_FORCE,
        f"received a net force of {net:.3f} eV/Å, expected at most {allowed:.3f} eV/Å (an isolated system has no "
        "net force): use a finer grid, a higher cutoff or tighter convergence",
    )
