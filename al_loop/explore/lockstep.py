"""EXPLORE: many trajectories in lockstep, one batched evaluation of the served model per step, gated as they go."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.config import ExploreSettings, PhysicsSettings
from al_loop.explore.langevin import LangevinReplica
from al_loop.explore.starts import Start
from al_loop.gate.gate import Gate
from al_loop.gate.physics import PhysicsLane, not_computable
from al_loop.ids import frame_id
from al_loop.records import Lane, Verdict, VerdictKind, Visit
from al_loop.select.descriptors import frame_descriptor
from committee.errors import FoundationAnswerError, StructureError
from committee.potential import CommitteePotential, Uncertainty
from committee.prediction import Prediction


@dataclass
class _Trajectory:
    """One running trajectory: its start, its dynamics, its physics lane, its latest forces."""

    start: Start
    replica: LangevinReplica
    physics: PhysicsLane
    forces: NDArray[np.float64]
    stopped: Verdict | None = None

    @property
    def atoms(self) -> Atoms:
        return self.replica.atoms


def explore(
    potential: CommitteePotential,
    starts: Sequence[Start],
    settings: ExploreSettings,
    physics: PhysicsSettings,
    advance: Callable[[int], object] = lambda _: None,
) -> list[Visit]:
    """Run every trajectory to its end or to the first sign of broken physics.

    Args:
        potential: the served model; its calibration decides what is trusted.
        starts: beginnings of the trajectories.
        settings: steps, time step, interval between gated frames.
        physics: limits of the physics lane.
        advance: called with 1 after each step of all trajectories.

    Returns:
        The gated frames of all trajectories: the start and every ``check_every`` steps. A trajectory that the physics
        lane, the discard threshold or a foundation that cannot answer stops ends with the frame it was stopped at.
    """
    gate = Gate(potential.calibration)
    running = [_begin(start, settings, physics) for start in starts]
    visits: list[Visit] = []
    for step in range(settings.steps + 1):
        check = step % settings.check_every == 0
        for trajectory in running if step else ():
            trajectory.replica.move(trajectory.forces)
        exact = check and gate.calibration is not None
        running = _evaluable(running, step, visits)
        running, predictions = _predicted(potential, running, "exact" if exact else "energy", step, visits)
        if not running:
            break
        for trajectory, prediction in zip(running, predictions, strict=True):
            trajectory.forces = prediction.forces
            if step:
                trajectory.replica.finish(prediction.forces)
            visit = _gated(trajectory, prediction, gate, step, check=check)
            if visit is not None:
                visits.append(visit)
        running = [t for t in running if t.stopped is None]
        if step:
            advance(1)
    return sorted(visits, key=lambda visit: (visit.role, visit.trajectory, visit.step))


def _begin(start: Start, settings: ExploreSettings, physics: PhysicsSettings) -> _Trajectory:
    atoms = start.atoms.copy()
    replica = LangevinReplica(
        atoms,
        start.temperature_K,
        settings.timestep_fs,
        settings.friction_per_ps,
        np.random.default_rng(start.seed),
    )
    lane = PhysicsLane(physics, start.intact, start.temperature_K)
    return _Trajectory(start, replica, lane, np.zeros_like(atoms.positions))


def _evaluable(running: list[_Trajectory], step: int, visits: list[Visit]) -> list[_Trajectory]:
    """Stop the trajectories whose positions no model could be asked about."""
    for trajectory in running:
        trajectory.stopped = trajectory.physics.check_step(trajectory.atoms, trajectory.forces)
        if trajectory.stopped is not None:
            visits.append(_visit(trajectory, trajectory.stopped, step))
    return [t for t in running if t.stopped is None]


def _predicted(
    potential: CommitteePotential,
    running: list[_Trajectory],
    uncertainty: Uncertainty,
    step: int,
    visits: list[Visit],
) -> tuple[list[_Trajectory], list[Prediction]]:
    """Ask the served model about all trajectories; one that it cannot answer for stops, and the others are asked again.

    Returns:
        The trajectories that go on, with their predictions.
    """
    while running:
        try:
            return running, potential.predict([t.atoms for t in running], uncertainty)
        except (StructureError, FoundationAnswerError) as error:
            if error.frame_index is None:
                raise
            broken = running[error.frame_index]
            broken.stopped = not_computable(f"the foundation has no answer: {error.reason}")
            visits.append(_visit(broken, broken.stopped, step))
            running = [t for t in running if t is not broken]
    return [], []


def _gated(trajectory: _Trajectory, prediction: Prediction, gate: Gate, step: int, *, check: bool) -> Visit | None:
    """Judge a frame where a check is due, or where the cheap physics check of every step fires."""
    physics = trajectory.physics
    found = (physics.check if check else physics.check_step)(trajectory.atoms, prediction.forces)
    sigma = None if prediction.forces_uncertainty is None else prediction.atomic_force_uncertainty
    if check:
        verdict = gate.judge(found, sigma, prediction.latent_distance)
        verdict = verdict if step else _at_start(verdict, sigma)
    elif found is not None:
        verdict = found
    else:
        return None
    if verdict.stop:
        trajectory.stopped = verdict
    descriptor = frame_descriptor(prediction.features, trajectory.atoms.numbers)
    return _visit(trajectory, verdict, step, sigma, prediction.latent_distance, descriptor)


def _at_start(verdict: Verdict, sigma: NDArray[np.float64] | None) -> Verdict:
    """A starting structure is never discarded for its uncertainty: the model would never learn it."""
    if verdict.lane is not Lane.FORCE_UNCERTAINTY or sigma is None or not np.isfinite(sigma).all():
        return verdict
    return replace(verdict, kind=VerdictKind.SUSPECT, stop=False)


def _visit(
    trajectory: _Trajectory,
    verdict: Verdict,
    step: int,
    sigma: NDArray[np.float64] | None = None,
    distance: NDArray[np.float64] | None = None,
    descriptor: NDArray[np.float32] | None = None,
) -> Visit:
    atoms = _plain(trajectory.atoms)
    return Visit(
        frame_id=frame_id(atoms),
        atoms=atoms,
        role=trajectory.start.role,
        system=trajectory.start.system,
        trajectory=trajectory.start.trajectory,
        step=step,
        temperature_K=trajectory.start.temperature_K,
        verdict=verdict,
        force_uncertainty_eV_per_A=None if sigma is None else float(sigma.max()),
        latent_distance=None if distance is None else float(distance.max()),
        descriptor=descriptor,
    )


def _plain(atoms: Atoms) -> Atoms:
    """The structure alone, without velocities."""
    plain = atoms.copy()
    if plain.has("momenta"):
        del plain.arrays["momenta"]
    return plain
