"""EMT whose labels have something wrong with them."""

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT


class SlippedEMT(EMT):
    """EMT with forces in another unit, or energies that no reference shift explains.

    Args:
        force_factor: multiplies forces.
        energy_spread_eV: added to energies, up or down by the position of the first atom.
    """

    def __init__(self, force_factor: float = 1.0, energy_spread_eV: float = 0.0, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.force_factor = force_factor
        self.energy_spread_eV = energy_spread_eV

    def calculate(self, atoms: Atoms | None = None, *arguments: Any, **more: Any) -> None:
        super().calculate(atoms, *arguments, **more)
        self.results["forces"] = self.results["forces"] * self.force_factor
        shift = self.energy_spread_eV * np.sin(1000 * self.atoms.positions[0, 0])
        for name in ("energy", "free_energy"):
            self.results[name] += shift
