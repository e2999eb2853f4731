"""Label a candidate with DFT, and optionally relax it with DFT."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from ase.optimize import BFGS

from al_loop.errors import NoAnswerError
from al_loop.frames.constraints.degrees_of_freedom import effective
from al_loop.frames.constraints.motion import free_forces
from al_loop.frames.constraints.policy import Motion, followed
from al_loop.stages.label.ase_calculator import LabelCalculator
from al_loop.stages.label.direct import Labeller
from dft_interfaces.label import Label, LabelStatus


@dataclass(frozen=True)
class Labelled:
    """A structure with its label."""

    atoms: Atoms
    label: Label

    @property
    def energy_eV(self) -> float | None:
        """Total energy, None unless converged."""
        return self.label.energy_eV if self.label.status is LabelStatus.CONVERGED else None

    @property
    def max_force_eV_per_A(self) -> float | None:
        """Largest force on a free atom, None unless converged: how far the structure is from a minimum of DFT."""
        forces = self.label.forces_eV_per_A
        if self.energy_eV is None or forces is None:
            return None
        return float(np.linalg.norm(free_forces(self.atoms, forces), axis=1).max())


def relaxed_with_dft(
    start: Atoms, labeller: Labeller, force_tolerance_eV_per_A: float, steps: int
) -> tuple[Labelled, ...]:
    """Follow the forces of labels from a structure, with its constraints and in a fixed cell.

    Returns:
        Every label that was made, in order, a failed last one included.

    Raises:
        InputError: constraints that a relaxation cannot follow.
    """
    atoms: Any = start.copy()
    atoms.set_constraint(followed(start, Motion.COMPARISON))
    made: list[Labelled] = []

    def keep(structure: Atoms, label: Label) -> None:
        structure.set_constraint([constraint.copy() for constraint in start.constraints])
        made.append(Labelled(structure, label))

    atoms.calc = LabelCalculator(labeller, keep)
    with suppress(NoAnswerError):
        BFGS(atoms, logfile=None).run(fmax=force_tolerance_eV_per_A, steps=steps)
    return tuple(made)


def displacement_A(before: Atoms, after: Atoms) -> float:
    """Largest distance that any atom has moved, apart from a common drift of all, Å."""
    moved = find_mic(after.positions - before.positions, before.cell, before.pbc)[0]
    if not effective(before):
        moved = moved - moved.mean(axis=0)
    return float(np.linalg.norm(moved, axis=1).max())
