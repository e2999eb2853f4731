"""Labelled frames as the reference: errors on them, and quantities that follow without further calculations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from al_loop.errors import NoAnswerError
from al_loop.files.labelled import read_labelled
from al_loop.files.labels.names import LabelKeys
from al_loop.records import Frame
from al_loop.tools.validation.checks import NamedCheck
from al_loop.tools.validation.comparison import FRAMES
from al_loop.tools.validation.equation_of_state import equation_of_state, fitted
from al_loop.tools.validation.quantity import Quantity, Values
from al_loop.utils.content_hash import canonical_order, content_id, frame_id, matching_order

SAME_FRACTION = 1e-3
LEAST_POINTS = 5

Array = NDArray[np.float64]


class DatasetReference:
    """Labelled frames.

    A fully relaxed structure in the file provides ``relaxation``; five or more evenly scaled copies of a
    structure provide ``equation-of-state``. Other checks are not compared. In addition,
    each model is compared on every frame (check ``frames``).

    Args:
        paths: files, folders and patterns, see ``find_sources``.
        keys: names of the labels in files of frames.

    Attributes:
        notes: sentences on frames that were merged, separated or left out.

    Raises:
        InputError: no such file, no labels in it, or labels of one geometry that contradict each other.
    """

    pays = False

    def __init__(self, paths: Sequence[Path], keys: LabelKeys | None = None) -> None:
        read = read_labelled(paths, keys)
        self.frames, self.notes = read.frames, read.notes
        self.name = paths[0].name if len(paths) == 1 else f"{paths[0].name} and {len(paths) - 1} more"
        self.level = f"{len(self.frames)} labelled frames of {self.name}"

    def values(self, check: NamedCheck, structure: str, atoms: Atoms) -> Values:
        """See ``Reference.values``."""
        if check.name == FRAMES:
            return Values(tuple(frame_errors(self.frames, None)))
        if check.function is equation_of_state:
            return self._equation_of_state(structure, atoms)
        return check.run(atoms, _DatasetCalculator(self.frames))

    def frames_check(self) -> NamedCheck:
        """The check that compares a model on every frame."""

        def errors(atoms: Atoms, calculator: Calculator, *, data: str) -> list[Quantity]:
            del atoms, data
            return frame_errors(self.frames, calculator)

        parts = [
            (frame_id(f.atoms), canonical_order(f.atoms).tolist(), f.energy_eV, f.forces_eV_per_A.tolist())
            for f in self.frames
        ]
        stresses = [f.stress_eV_per_A3.tolist() for f in self.frames]
        return NamedCheck(FRAMES, errors, settings={"data": content_id(parts, stresses)})

    def _equation_of_state(self, structure: str, atoms: Atoms) -> Values:
        scaled = [frame for frame in self.frames if _is_scaled(atoms, frame.atoms) and np.isfinite(frame.energy_eV)]
        volumes = {round(frame.atoms.get_volume() / len(atoms), 6): frame.energy_eV / len(atoms) for frame in scaled}
        if len(volumes) < LEAST_POINTS:
            return Values(
                failure=f"{self.name} holds {len(volumes)} evenly scaled copies of {structure}, and {LEAST_POINTS} are "
                "needed"
            )
        try:
            return Values(tuple(fitted(np.array(list(volumes)), np.array(list(volumes.values())))))
        except NoAnswerError as error:
            return Values(failure=str(error))


def frame_errors(frames: Sequence[Frame], calculator: Calculator | None) -> list[Quantity]:
    """Mean absolute errors on labelled frames.

    Energies of two codes have no common reference: within each composition the mean difference is removed, so that a
    composition with one frame does not contribute.

    Some labels may lack. Without a calculator the errors are those of the labels themselves: 0 by definition.
    """
    energies: dict[str, list[float]] = {}
    forces: list[Array] = []
    stresses: list[Array] = []
    for frame in frames:
        predicted = None
        if calculator is not None:
            predicted = frame.atoms.copy()
            predicted.calc = calculator
        if np.isfinite(frame.energy_eV):
            error = 0.0 if predicted is None else predicted.get_potential_energy() - frame.energy_eV
            energies.setdefault(frame.atoms.get_chemical_formula(), []).append(error / len(frame.atoms))
        if np.isfinite(known := frame.forces_eV_per_A).all():
            own = known if predicted is None else predicted.get_forces(apply_constraint=False)
            forces.append(np.ravel(own - known))
        if np.isfinite(known := frame.stress_eV_per_A3).all():
            own = known if predicted is None else predicted.get_stress()
            stresses.append(own - known)
    apart = [np.array(values) - np.mean(values) for values in energies.values() if len(values) > 1]
    return [
        Quantity(name, unit, float(np.abs(np.concatenate(parts)).mean()))
        for name, unit, parts in (
            ("energy error", "eV/atom", apart),
            ("force error", "eV/Å", forces),
            ("stress error", "eV/Å³", stresses),
        )
        if parts
    ]


class _DatasetCalculator(Calculator):  # type: ignore[misc]
    """Returns the labels of known frames."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def __init__(self, frames: Sequence[Frame]) -> None:
        super().__init__()
        self._frames = {frame_id(frame.atoms): frame for frame in frames}

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Look the atoms up.

        Raises:
            NoAnswerError: no such frame, or one without the requested label.
        """
        super().calculate(atoms, list(properties), list(system_changes))
        found = self._frames.get(frame_id(self.atoms))
        if found is None:
            raise NoAnswerError("the labelled frames lack a structure that the check needs")
        known: dict[str, Any] = {
            "energy": found.energy_eV,
            "forces": found.forces_eV_per_A[matching_order(found.atoms, self.atoms)],
            "stress": found.stress_eV_per_A3,
        }
        self.results = {name: value for name, value in known.items() if np.isfinite(value).all()}
        lacking = sorted(set(properties) - set(self.results))
        if lacking:
            raise NoAnswerError(f"the labelled frame has no {', '.join(lacking)}")


def _is_scaled(atoms: Atoms, other: Atoms) -> bool:
    """Whether one is the other with all lengths multiplied, atom by atom."""
    if not (atoms.pbc.all() and other.pbc.all() and np.array_equal(atoms.numbers, other.numbers)):
        return False
    scale = (other.get_volume() / atoms.get_volume()) ** (1 / 3)
    apart = other.get_scaled_positions() - atoms.get_scaled_positions()
    apart -= apart.round()
    size = np.abs(atoms.cell.array).max()
    same_cell = np.allclose(other.cell.array, atoms.cell.array * scale, atol=SAME_FRACTION * size)
    return bool(same_cell and np.abs(apart).max() < SAME_FRACTION)
