"""Calculators that answer, but not with what matter does."""

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.neighborlist import neighbor_list


class NaNForces(EMT):
    """EMT whose forces are not numbers."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, list(properties), system_changes)
        self.results["forces"] = np.full_like(self.results["forces"], np.nan)


class Refusing(EMT):
    """EMT that refuses structures with an odd number of atoms."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        if len(atoms) % 2:
            raise RuntimeError("odd numbers are not supported\nand so on")
        super().calculate(atoms, list(properties), system_changes)


class Sticky(Calculator):
    """Every pair attracts at every distance, ever more.

    Args:
        strength: of the pull, eV/Å at no distance.
    """

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, strength=2.0):
        super().__init__()
        self.strength = strength

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, list(properties), system_changes)
        first, distance, vector = neighbor_list("idD", atoms, 3.0)
        strength = self.strength * np.exp(-distance)
        pull = strength[:, None] * vector / distance[:, None]
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, first, pull)
        stress = np.zeros(6)
        if atoms.cell.rank == 3:
            full = 0.5 * np.einsum("pi,pj->ij", pull, vector) / atoms.get_volume()
            stress = full[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        self.results = {"energy": -0.5 * float(strength.sum()), "forces": forces, "stress": stress}
