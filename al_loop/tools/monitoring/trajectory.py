"""Apply the gate to a finished trajectory of any code."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from ase import Atoms

from al_loop.config import PhysicsSettings
from al_loop.files.trajectories import STEP, TIME_PS
from al_loop.frames.constraints.motion import temperature_K as kinetic_temperature_K
from al_loop.gate.applicability import check_suitable
from al_loop.gate.physics import PhysicsCheck
from al_loop.tools.monitoring.observed_dynamics import ROOM_TEMPERATURE_K
from al_loop.tools.monitoring.session import MonitoringSession
from al_loop.tools.monitoring.settings import MonitorOptions
from al_loop.tools.monitoring.trajectory_gate import FrameContext
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
    try:
        for index, atoms in enumerate(frames):
            if index % every:
                continue

            def new_check(atoms: Atoms = atoms, index: int = index) -> PhysicsCheck:
                where = f"{name}, frame {index}"
                check_suitable(potential, atoms, where, any_periodicity=options.any_periodicity)
                return PhysicsCheck(physics or PhysicsSettings(), atoms.copy(), temperature_K or _warmth_K(atoms))

            gate = session.gate(atoms, new_check)
            context = _context(atoms, index, between_frames_fs)
            atoms.calc = None
            session.check(gate, atoms, context)
            advance(1)
    finally:
        summary = session.close()
    return summary


def _context(atoms: Atoms, index: int, between_fs: float | None) -> FrameContext:
    results = {} if atoms.calc is None else atoms.calc.results
    energy = results.get("free_energy", results.get("energy"))
    forces = results.get("forces") if energy is not None else None
    time_ps = atoms.info.pop(TIME_PS, None if between_fs is None else index * between_fs / 1e3)
    return FrameContext(atoms.info.pop(STEP, index), time_ps, None if energy is None else float(energy), forces)


def _warmth_K(atoms: Atoms) -> float:
    kinetic = kinetic_temperature_K(atoms)
    return kinetic if np.isfinite(kinetic) and kinetic > 0 else ROOM_TEMPERATURE_K
