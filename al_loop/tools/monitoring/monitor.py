"""A monitor that is attached to an ASE dynamics and applies the gate at regular steps."""

import logging
from pathlib import Path
from typing import Any, Self

import numpy as np
from ase import Atoms

from al_loop.config import PhysicsSettings
from al_loop.errors import InputError
from al_loop.gate.applicability import check_suitable
from al_loop.gate.physics import PhysicsCheck
from al_loop.tools.monitoring.calculator_source import own_answer
from al_loop.tools.monitoring.check import Check
from al_loop.tools.monitoring.observed_dynamics import Watched
from al_loop.tools.monitoring.session import MonitoringSession
from al_loop.tools.monitoring.settings import MonitorOptions
from al_loop.tools.monitoring.summary import Summary
from al_loop.tools.monitoring.trajectory_gate import FrameContext, TrajectoryGate
from al_loop.tools.open_model import FoundationArgument, open_model
from committee import names
from committee.potential import CommitteePotential

TOLD_EVERY = 100  # checks between two summaries in the log
UNCALIBRATED = "the model is not calibrated: every frame is 'uncalibrated', and only the physics check raises alarms"

_logger = logging.getLogger("al_loop")


class ReliabilityMonitor:
    """Applies the campaign's gate to a running dynamics. It trains nothing and does not change the trajectory.

    Positions are the same, bit for bit, with it and without: it draws from no global generator, and it never asks the
    dynamics' calculator for anything that would be computed anew.

    Args:
        potential: the committee.
        dynamics: what it is attached to.
        options: what it does.
        physics: limits of the physics check.
        reference: the intact structure, atom by atom that of the dynamics; by default the frame of the first check.
        temperature_K: of the thermostat, if the dynamics does not tell.

    Attributes:
        potential: the committee.
        options: what it does.

    Raises:
        InputError: the structure is not one for this model, a reference of other atoms, or no campaign to harvest for.

    Examples:
        >>> from al_loop import ReliabilityMonitor
        >>> from ase.io import read
        >>> from ase.md.verlet import VelocityVerlet
        >>> from committee import CommitteeCalculator
        >>> atoms = read("copper.cif")
        >>> dynamics = VelocityVerlet(atoms, timestep=0.1)
        >>> with ReliabilityMonitor.load("model", dynamics, foundation="fairchem:distilled.pt:omat") as monitor:
        ...     atoms.calc = CommitteeCalculator(monitor.potential)
        ...     dynamics.attach(monitor, interval=5)
        ...     dynamics.run(10)
        True
        >>> monitor.as_dict()["checks"]
        3
    """

    def __init__(
        self,
        potential: CommitteePotential,
        dynamics: Any,
        options: MonitorOptions | None = None,
        *,
        physics: PhysicsSettings | None = None,
        reference: Atoms | None = None,
        temperature_K: float | None = None,
    ) -> None:
        self.potential = potential
        self.options = options or MonitorOptions()
        self._watched = Watched(dynamics, temperature_K)
        self._physics = physics or PhysicsSettings()
        self._reference = reference
        self._judge: TrajectoryGate | None = None
        self._numbers = self._watched.atoms.numbers.copy()
        if reference is not None and not np.array_equal(reference.numbers, self._numbers):
            raise InputError(
                f"reference: received {reference.get_chemical_formula()}, expected the atoms of the dynamics "
                f"({self._watched.atoms.get_chemical_formula()}) in the same order"
            )
        formula = self._watched.atoms.get_chemical_formula()
        self._session = MonitoringSession(potential, self.options, f"monitor of {formula}")
        check_suitable(potential, self._watched.atoms, "the structure", any_periodicity=self.options.any_periodicity)
        self._session.answers.prepare(self._watched.atoms.calc)
        self._begin(formula)

    @classmethod
    def load(
        cls,
        model: CommitteePotential | Path | str,
        dynamics: Any,
        *,
        foundation: FoundationArgument | None = None,
        physics: PhysicsSettings | None = None,
        reference: Atoms | None = None,
        temperature_K: float | None = None,
        **options: Any,
    ) -> Self:
        """Open a model and monitor a dynamics.

        Args:
            model: a checkpoint's folder, a campaign's YAML (its served model and physics), or an open committee.
            dynamics: what it is attached to.
            foundation: the foundation under a checkpoint, as for ``al-loop predict``, if it is not one by name.
            physics: limits of the physics check; by default the campaign's.
            reference: the intact structure; by default the frame of the first check.
            temperature_K: of the thermostat, if the dynamics does not tell.
            **options: of ``MonitorOptions``.

        Raises:
            InputError: no model, or a structure that is not one for it.
        """
        if not isinstance(model, CommitteePotential):
            opened = open_model(Path(model), foundation)
            model, physics = opened.potential, physics or opened.physics
        return cls(
            model,
            dynamics,
            MonitorOptions(**options),
            physics=physics,
            reference=reference,
            temperature_K=temperature_K,
        )

    @property
    def summary(self) -> Summary:
        """Summary of the run so far."""
        return self._session.summary

    @property
    def latest(self) -> Check | None:
        """The last check."""
        return self.summary.last

    @property
    def evaluations(self) -> int:
        """Number of committee evaluations by the monitor itself."""
        return self._session.answers.evaluations

    @property
    def stored(self) -> int:
        """Number of frames written to ``options.snapshots``."""
        return self._session.stored

    def __call__(self) -> None:
        """Check the present frame of the dynamics.

        Raises:
            MonitorStop: an alarm that the options let end the run.
        """
        atoms, watched = self._watched.atoms, self._watched
        judge = self._judge_of(atoms)
        if watched.follows_thermostat:
            judge.physics_check.temperature_K = watched.temperature_K()
        own = own_answer(atoms)
        energy = own.get(names.FREE_ENERGY, own.get(names.ENERGY))
        moment = FrameContext(watched.step, watched.time_ps, energy, own.get(names.FORCES))
        try:
            self._session.check(judge, atoms, moment)
        except BaseException:
            self._session.log_summary()
            raise
        if self.summary.checks % TOLD_EVERY == 0:
            self._session.log_summary()

    def close(self) -> dict[str, Any]:
        """Harvest the collected frames, write the summary into the log unless it ends with it, and return it."""
        return self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def as_dict(self) -> dict[str, Any]:
        """The summary so far."""
        return self._session.as_dict()

    def _begin(self, formula: str) -> None:
        calibration = self.potential.calibration
        promise = UNCALIBRATED if calibration is None else calibration.summary
        if not self._session.calibrated:
            _logger.warning("%s", UNCALIBRATED)
        self._session.begin(formula=formula, promise=promise)

    def _judge_of(self, atoms: Atoms) -> TrajectoryGate:
        """The gate of this trajectory; a new one if the atoms changed."""
        if self._judge is None or not np.array_equal(self._numbers, atoms.numbers):
            if self._judge is not None:
                self._session.answers.restart()
                self._reference = None
            self._numbers = atoms.numbers.copy()
            self._judge = self._new_judge()
        return self._judge

    def _new_judge(self) -> TrajectoryGate:
        watched = self._watched
        reference = (self._reference or watched.atoms).copy()
        reference.set_constraint([constraint.copy() for constraint in watched.atoms.constraints])
        physics_check = PhysicsCheck(
            self._physics,
            reference,
            watched.temperature_K(),
            ensemble="nve" if watched.conserved else "langevin",
            timestep_fs=watched.between_checks_fs(self),
        )
        return TrajectoryGate(self.potential.calibration, physics_check)
