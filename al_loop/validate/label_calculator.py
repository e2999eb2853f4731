"""The labels of an engine as an ASE calculator, each kept on disk: nothing that was paid for is calculated twice."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from al_loop.narrow.labeller import Labeller
from al_loop.validate.relaxing import NoAnswerError
from dft_interfaces.label import LabelStatus


class LabelCalculator(Calculator):  # type: ignore[misc]
    """Energy, forces and, for crystals, stress of an engine.

    Args:
        labeller: makes the labels with the limits and retries of its ``label`` block, and keeps them.
        advance: called with 1 for each label, those that were kept included.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, labeller: Labeller, advance: Callable[[int], object] = lambda _: None) -> None:
        super().__init__()
        self._labeller = labeller
        self._advance = advance
        if "stress" not in labeller.properties:
            self.implemented_properties = ["energy", "free_energy", "forces"]  # type: ignore[misc]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Label the atoms.

        Raises:
            NoAnswerError: the calculation failed in all its tries, with the last line of its message.
        """
        super().calculate(atoms, list(properties), list(system_changes))
        label = self._labeller.label(self.atoms.copy())
        self._advance(1)
        if label.status is not LabelStatus.CONVERGED:
            last = (label.message.strip().splitlines() or ["no message"])[-1]
            raise NoAnswerError(f"a calculation of the reference ended by {label.failure or label.status}: {last}")
        self.results = {
            "energy": label.energy_eV,
            "free_energy": label.energy_eV,
            "forces": label.forces_eV_per_A,
        }
        if label.stress_eV_per_A3 is not None:
            self.results["stress"] = label.stress_eV_per_A3
