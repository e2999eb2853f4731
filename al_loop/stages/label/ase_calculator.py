"""The labels of an engine as an ASE calculator; each is kept on disk, so that none is calculated twice."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from al_loop.errors import NoAnswerError
from al_loop.stages.label.direct import Labeller
from al_loop.stages.label.quarantine import failure_in_words
from dft_interfaces.label import Label, LabelStatus


class LabelCalculator(Calculator):  # type: ignore[misc]
    """Energy, forces and, for crystals, stress of an engine.

    Args:
        labeller: calculates the labels with the limits and retries of its ``label`` block, and keeps them.
        on_label: called with each structure and its label, stored and failed ones included.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, labeller: Labeller, on_label: Callable[[Atoms, Label], object]) -> None:
        super().__init__()
        self._labeller = labeller
        self._on_label = on_label
        if "stress" not in labeller.properties:
            self.implemented_properties = ["energy", "free_energy", "forces"]  # type: ignore[misc]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Label the structure.

        Raises:
            NoAnswerError: all tries of the calculation failed; the message holds the reason.
        """
        super().calculate(atoms, list(properties), list(system_changes))
        structure = self.atoms.copy()
        label = self._labeller.label(structure)
        self._on_label(structure, label)
        if label.status is not LabelStatus.CONVERGED:
            raise NoAnswerError(f"a calculation ended by {failure_in_words(label)}")
        self.results = {
            "energy": label.energy_eV,
            "free_energy": label.energy_eV,
            "forces": label.forces_eV_per_A,
        }
        if label.stress_eV_per_A3 is not None:
            self.results["stress"] = label.stress_eV_per_A3
