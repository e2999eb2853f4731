"""Apply the gate to a finished trajectory of any code."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from ase import Atoms

from al_loop.config import PhysicsSettings
from al_loop.files.trajectories import STEP, TIME_PS
from al_loop.frames.constraints.motion import temperature_K
from al_loop.gate.applicability import check_suitable
from al_loop.gate.physics import PhysicsCheck
from al_loop.tools.monitoring.calculator_source import Answers
from al_loop.tools.monitoring.observed_dynamics import ROOM_TEMPERATURE_K
from al_loop.tools.monitoring.session import MonitoringSession
from al_loop.tools.monitoring.settings import MonitorOptions
from al_loop.tools.monitoring.trajectory_gate import FrameContext, TrajectoryGate
from al_loop.utils.progress import Advance, show_nothing
from committee.potential import CommitteePotential


def monitor_trajectory(
    potential: CommitteePotential,
    frames: Iterable[Atoms],
    options: MonitorOptions,
    *,
    name: str,
    physics: PhysicsSettings | None = None,
    temperature_K: float | None = None,
    between_frames_fs: float | None = None,
    every: int = 1,
    advance: Advance = show_nothing,
) -> dict[str, Any]:
    """Check the frames of a finished trajectory, one at a time; none is kept in memory.

    Energies are taken from the file, or else from the committee. Where the atoms or the periodicity
    change, a new trajectory begins.

    Args:
        potential: the committee.
        frames: of the trajectory, in their order; see ``read_frames``.
        options: what to do; with ``exact`` every frame has its exact uncertainty.
        name: of the trajectory, for messages.
        physics: limits of the physics check.
        temperature_K: of its thermostat; by default that of the first frame's velocities.
        between_frames_fs: time between two frames, if the file does not state times.
        every: check every n-th frame.
        advance: called with 1 after each checked frame.

    Returns:
        The summary.

    Raises:
        InputError: frames that are not for this model; see ``check_suitable``.
        MonitorStop: an alarm, with ``stop`` among ``options.on_alarm``.
    """
    session = MonitoringSession(potential, options, name)
    session.begin(trajectory=name)
    trajectory = _Trajectory(potential, options, physics or PhysicsSettings(), name, temperature_K)
    try:
        for index, atoms in _each(frames, every):
            judge = trajectory.judge_of(atoms, index, session.answers)
            moment = _moment(atoms, index, between_frames_fs)
            atoms.calc = None
            session.check(judge, atoms, moment)
            advance(1)
    finally:
        told = session.close()
    return told


class _Trajectory:
    """The gate of consecutive frames; a new one where the atoms or the periodicity change."""

    def __init__(
        self,
        potential: CommitteePotential,
        options: MonitorOptions,
        physics: PhysicsSettings,
        name: str,
        temperature_K: float | None,
    ) -> None:
        self._potential = potential
        self._options = options
        self._physics = physics
        self._name = name
        self._temperature_K = temperature_K
        self._judge: TrajectoryGate | None = None
        self._start = Atoms()

    def judge_of(self, atoms: Atoms, index: int, answers: Answers) -> TrajectoryGate:
        """The gate for a frame; a new one if the frame begins another trajectory."""
        start = self._start
        same = np.array_equal(start.numbers, atoms.numbers) and np.array_equal(start.pbc, atoms.pbc)
        if self._judge is None or not same:
            any_periodicity = self._options.any_periodicity
            check_suitable(self._potential, atoms, f"{self._name}, frame {index}", any_periodicity=any_periodicity)
            self._start = atoms.copy()
            physics_check = PhysicsCheck(self._physics, self._start, self._temperature_K or _warmth_K(atoms))
            self._judge = TrajectoryGate(self._potential.calibration, physics_check)
            answers.restart()
        return self._judge


def _each(frames: Iterable[Atoms], every: int) -> Iterator[tuple[int, Atoms]]:
    for index, atoms in enumerate(frames):
        if index % every == 0:
            yield index, atoms


def _moment(atoms: Atoms, index: int, between_fs: float | None) -> FrameContext:
    results = {} if atoms.calc is None else atoms.calc.results
    energy = results.get("free_energy", results.get("energy"))
    forces = results.get("forces") if energy is not None else None
    told_ps = atoms.info.pop(TIME_PS, None)
    time_ps = told_ps if told_ps is not None else None if between_fs is None else index * between_fs / 1e3
    return FrameContext(atoms.info.pop(STEP, index), time_ps, None if energy is None else float(energy), forces)


def _warmth_K(atoms: Atoms) -> float:
    kinetic = temperature_K(atoms)
    return kinetic if np.isfinite(kinetic) and kinetic > 0 else ROOM_TEMPERATURE_K
