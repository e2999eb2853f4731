"""The teachers: SevenNet-0 for the task omat, GFN2-xTB for the task omol."""

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from benchmarks.distill.structures import Molecule

OMAT, OMOL = "omat", "omol"
CRYSTAL, MELT, SURFACE, MOLECULE = "crystal", "melt", "surface", "molecule"
TEACHERS = {OMAT: "SevenNet-0", OMOL: "GFN2-xTB (tblite)"}
STRESS_INDEX = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class Example:
    """One labelled frame.

    Attributes:
        task: omat or omol.
        kind: crystal, melt, surface or molecule.
        group: the trajectory or series that it comes from, never on both sides of the split.
        atoms: the structure, charge and spin in ``atoms.info``.
        energy_eV: total energy.
        forces_eV_per_A: (n, 3).
        stress_eV_per_A3: (6,) in ASE's order; None without a periodic cell.
    """

    task: str
    kind: str
    group: str
    atoms: Atoms
    energy_eV: float
    forces_eV_per_A: NDArray[np.float64]
    stress_eV_per_A3: NDArray[np.float64] | None


@cache
def crystal_teacher() -> Any:
    """ASE calculator of SevenNet-0, whose weights are in the ``sevenn`` wheel."""
    from sevenn.calculator import SevenNetCalculator

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No tensor product accelerator")  # there is none for processors
        return SevenNetCalculator("7net-0", device="cpu")


def molecule_teacher(state: Molecule) -> Any:
    """ASE calculator of GFN2-xTB in a given charge and multiplicity."""
    from tblite.ase import TBLite

    return TBLite(method="GFN2-xTB", charge=state.charge, multiplicity=state.spin, verbosity=0)


def read_example(kind: str, group: str, atoms: Atoms) -> Example:
    """Copy a frame with the labels of the calculator attached to it."""
    bare = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    bare.info = {key: atoms.info.get(key, 0) for key in ("charge", "spin")}
    stress = np.array(atoms.get_stress(), dtype=np.float64) if atoms.pbc.all() else None
    task = OMOL if kind == MOLECULE else OMAT
    return Example(task, kind, group, bare, float(atoms.get_potential_energy()), atoms.get_forces().copy(), stress)
