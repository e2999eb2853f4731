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
from al_loop.tools.monitoring.observed_dynamics import ObservedDynamics
from al_loop.tools.monitoring.predictions import cached_results
from al_loop.tools.monitoring.session import MonitoringSession
from al_loop.tools.monitoring.settings import MonitorOptions
from al_loop.tools.monitoring.summary import Summary
from al_loop.tools.monitoring.trajectory_gate import Check, FrameContext
from al_loop.tools.open_model import FoundationArgument, open_model
from committee import names
from committee.potential import CommitteePotential

SUMMARY_EVERY = 100  # checks between two summaries in the log
UNCALIBRATED = "the model is not calibrated: every frame is 'uncalibrated', and only the physics check raises alarms"

_logger = logging.getLogger("al_loop")


class ReliabilityMonitor:
    """Applies the campaign's gate to a running dynamics. It trains nothing and does not change the trajectory.

    Positions are the same, bit for bit, with it and without: it draws from no global generator, and it never lets the
    dynamics' calculator compute anything anew.

    Args:
        potential: the committee.
        dynamics: what it is attached to.
        options: what it does.
        physics: limits of the physics check.
        reference: the intact structure, atom by atom that of the dynamics; by default the frame of the first check.
        temperature_K: of the thermostat, if the dynamics does not state it.

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
        self._observed = ObservedDynamics(dynamics, temperature_K)
        self._physics = physics or PhysicsSettings()
        self._reference = reference
        atoms = self._observed.atoms
        formula = atoms.get_chemical_formula()
        if reference is not None and not np.array_equal(reference.numbers, atoms.numbers):
            raise InputError(
                f"reference: received {reference.get_chemical_formula()}, expected the atoms of the dynamics "
                f"({formula}) in the same order"
            )
        self._session = MonitoringSession(potential, self.options, f"monitor of {formula}")
        check_suitable(potential, atoms, "the structure", any_periodicity=self.options.any_periodicity)
        self._session.predictions.prepare(atoms.calc)
        if not self._session.calibrated:
            _logger.warning("%s", UNCALIBRATED)
        guarantee = UNCALIBRATED if potential.calibration is None else potential.calibration.summary
        self._session.begin(formula=formula, guarantee=guarantee)

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
            temperature_K: of the thermostat, if the dynamics does not state it.
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
        return self._session.predictions.evaluations

    @property
    def stored(self) -> int:
        """Number of frames written to ``options.snapshots``."""
        return self._session.alarms.counts["stored"]

    def __call__(self) -> None:
        """Check the present frame of the dynamics.

        Raises:
            MonitorStop: an alarm that the options let end the run.
        """
        observed = self._observed
        gate = self._session.gate(observed.atoms, self._new_check)
        if observed.follows_thermostat:
            gate.physics_check.temperature_K = observed.temperature_K()
        results = cached_results(observed.atoms)
        energy = results.get(names.FREE_ENERGY, results.get(names.ENERGY))
        context = FrameContext(observed.step, observed.time_ps, energy, results.get(names.FORCES))
        try:
            self._session.check(gate, observed.atoms, context)
        except BaseException:
            self._session.log_summary()
            raise
        if self.summary.checks % SUMMARY_EVERY == 0:
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

    def _new_check(self) -> PhysicsCheck:
        """The physics check of a trajectory; the reference is for the first, since later ones have other atoms."""
        observed = self._observed
        reference = (self._reference or observed.atoms).copy()
        self._reference = None
        reference.set_constraint([constraint.copy() for constraint in observed.atoms.constraints])
        return PhysicsCheck(
            self._physics,
            reference,
            observed.temperature_K(),
            ensemble="nve" if observed.conserved else "langevin",
            timestep_fs=observed.between_checks_fs(self),
        )
