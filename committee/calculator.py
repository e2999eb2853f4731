"""The committee as an ASE calculator."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from committee import names
from committee.backbone import Backbone
from committee.checkpoint import load
from committee.potential import CommitteePotential, Uncertainty


class CommitteeCalculator(Calculator):  # type: ignore[misc]
    """Energy, forces, stress and their standard deviations, under the names of ``committee.names``.

    ASE's writers drop results they do not know: to save uncertainties, copy them into ``atoms.info`` and
    ``atoms.arrays``.

    Args:
        potential: the committee.
        uncertainty: ``energy`` (free), ``probe`` (one more backward pass, noisy) or ``exact`` (K - 1 more).
        **kwargs: passed on to ASE's ``Calculator``.
    """

    implemented_properties: ClassVar[list[str]] = [
        names.ENERGY,
        names.FREE_ENERGY,
        names.FORCES,
        names.STRESS,
        names.ENERGY_UNCERTAINTY,
        names.FORCES_UNCERTAINTY,
        names.STRESS_UNCERTAINTY,
        names.ENERGY_ENSEMBLE,
        names.FORCES_ENSEMBLE,
        names.STRESS_ENSEMBLE,
        names.LATENT_DISTANCE,
    ]

    def __init__(self, potential: CommitteePotential, uncertainty: Uncertainty = "energy", **kwargs: Any):
        super().__init__(**kwargs)
        self.potential = potential
        self.uncertainty = uncertainty

    @classmethod
    def load(cls, folder: Path | str, backbone: Backbone | None = None, uncertainty: Uncertainty = "energy") -> Self:
        """Open a checkpoint; see ``committee.checkpoint.load`` for when a backbone must be given."""
        return cls(load(folder, backbone), uncertainty)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = (names.ENERGY,),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Predict ``atoms``. Stress is there for cells that are periodic in three directions only."""
        super().calculate(atoms, list(properties), list(system_changes))
        self.results = self.potential.predict([self.atoms], self.uncertainty)[0].results()
