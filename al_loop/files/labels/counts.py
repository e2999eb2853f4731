"""Number of frames by the labels that they have."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class LabelCounts:
    """Number of frames by the parts of their labels; stress is not counted.

    Attributes:
        both: with energy and forces.
        energy_only: with an energy and no forces.
        forces_only: with forces and no energy.
    """

    both: int
    energy_only: int
    forces_only: int

    @classmethod
    def of(cls, labels: Iterable[tuple[float, Any]]) -> "LabelCounts":
        """Count labels.

        Args:
            labels: energy (NaN if there is none) and forces (None or NaN if there are none) of each frame.
        """
        known = [
            (bool(np.isfinite(energy)), forces is not None and bool(np.isfinite(forces).all()))
            for energy, forces in labels
        ]
        return cls(known.count((True, True)), known.count((True, False)), known.count((False, True)))

    @property
    def partial(self) -> bool:
        """Whether any frame lacks energy or forces."""
        return bool(self.energy_only or self.forces_only)

    def __str__(self) -> str:
        return f"{self.both} with energy and forces, {self.energy_only} energy only, {self.forces_only} forces only"
