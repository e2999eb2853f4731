"""Relaxation with the committee, which stops at once where the physics breaks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE, LBFGS

from al_loop.config import PhysicsSettings
from al_loop.constraints.policy import Motion, followed
from al_loop.gate.physics import PhysicsLane
from al_loop.narrow.options import RelaxOptions
from al_loop.records import Verdict, VerdictKind
from committee.calculator import CommitteeCalculator
from committee.errors import FoundationAnswerError, StructureError
from committee.potential import CommitteePotential
from committee.structures import check_structures
from dft_interfaces.bounds import structure_excess

CHECK_EVERY = 5
COLD_K = 1.0  # nothing moves: the lane's temperature plays no role
OPTIMIZERS: dict[str, Any] = {"fire": FIRE, "lbfgs": LBFGS}


@dataclass(frozen=True)
class Relaxation:
    """Where a relaxation ended.

    Attributes:
        atoms: the last sound structure, without calculator, with its constraints.
        steps: that were made.
        max_force_eV_per_A: left on any free atom, NaN if the model gave no answer.
        converged: the forces are below the tolerance.
        broken: what went wrong, empty if nothing did.
    """

    atoms: Atoms
    steps: int
    max_force_eV_per_A: float
    converged: bool
    broken: str = ""


class _Stopped(Exception):  # noqa: N818 - a stop, not an error
    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)


def relaxed(start: Atoms, potential: CommitteePotential, options: RelaxOptions, physics: PhysicsSettings) -> Relaxation:
    """Relax a structure.

    Args:
        start: where it begins, with its constraints; not modified.
        potential: the committee.
        options: how far.
        physics: limits of what counts as sound, against the start.

    Raises:
        InputError: constraints that cannot be followed.
    """
    if excess := structure_excess(start):
        return Relaxation(_plain(start, start), 0, float("nan"), converged=False, broken=excess)
    try:
        check_structures([start], potential.backbone.elements)
    except StructureError as error:
        return Relaxation(_plain(start, start), 0, float("nan"), converged=False, broken=error.reason)
    atoms = start.copy()
    atoms.set_constraint(followed(start, Motion.CELL if options.cell else Motion.COMPARISON))
    atoms.calc = CommitteeCalculator(potential)
    lane = PhysicsLane(physics, start, COLD_K)
    optimizer: Any = None

    def check(*, ended: bool = False) -> None:
        """A rough start may look unphysical on its way; what nobody should be asked about ends it at once."""
        found = lane.check(atoms, atoms.get_forces(apply_constraint=False))
        if found is not None and (ended or found.kind is VerdictKind.DISCARD):
            raise _Stopped(found)

    try:
        moving = FrechetCellFilter(atoms) if options.cell else atoms
        optimizer = OPTIMIZERS[options.optimizer](moving, logfile=None)
        optimizer.attach(check, interval=CHECK_EVERY)
        converged = bool(optimizer.run(fmax=options.force_tolerance_eV_per_A, steps=options.steps))
        check(ended=True)
    except (_Stopped, StructureError, FoundationAnswerError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not start.constraints:
            raise  # of another origin than a constraint that cannot be satisfied any more
        steps = 0 if optimizer is None else optimizer.nsteps
        return Relaxation(_plain(atoms, start), steps, float("nan"), converged=False, broken=_reason(error))
    largest = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    return Relaxation(_plain(atoms, start), optimizer.nsteps, largest, converged)


def _reason(error: Exception) -> str:
    if isinstance(error, StructureError):
        return error.reason
    return str(error)


def _plain(atoms: Atoms, start: Atoms) -> Atoms:
    copied = atoms.copy()
    copied.calc = None
    copied.set_constraint([constraint.copy() for constraint in start.constraints])
    return copied
