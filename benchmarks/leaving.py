"""Trajectories that leave the training distribution: true error and uncertainty at each step.

The committee is trained at the lowest temperature only. Replicas start at home, from held-out frames, and are
heated above the highest temperature under its own forces; the teacher gives the true error.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from systems import Frame, Model, System

from al_loop.config import PhysicsSettings
from al_loop.dynamics.constant_volume import LangevinReplica
from al_loop.gate.physics import PhysicsCheck
from committee.potential import CommitteePotential
from committee.uncertainty.calibration import Calibration
from committee.uncertainty.score import largest

Array = np.ndarray
EVERY = 5  # steps between two looks
HOTTER = 1.2  # end of the heating, in units of the highest temperature
FALSE_ALARMS = 0.05
AIMED_AT = 0.03  # on the trajectories that the threshold is chosen on, since it does worse on others


@dataclass
class Journey:
    """Errors and uncertainties of one trajectory at each check."""

    errors: list[Array]
    sigmas: list[Array]
    distances: list[Array]
    broken: list[bool]

    def beyond(self, tolerance: float) -> Array:
        """Whether the largest true error is above the tolerance (looks,)."""
        return largest(self.errors) > tolerance

    def signal(self, calibration: Calibration) -> Array:
        """The gate's combined uncertainty (looks,), infinite where the physics check raises an alarm."""
        pairs = zip(self.sigmas, self.distances, strict=True)
        uncertainty = np.array([calibration.frame_uncertainty(sigma, distance) for sigma, distance in pairs])
        return np.where(self.broken, np.inf, uncertainty)


def heated(
    system: System, potential: CommitteePotential, teacher: Model, starts: Sequence[Frame], steps: int
) -> list[Journey]:
    """Heat replicas in lockstep; a replica stops at its first alarm of the physics check."""
    recipe = system.recipe
    cold, hot = recipe.temperatures_K[0], HOTTER * recipe.temperatures_K[-1]
    replicas = [
        LangevinReplica(frame.training.atoms.copy(), cold, recipe.timestep_fs, 20.0, np.random.default_rng([7, number]))
        for number, frame in enumerate(starts)
    ]
    checks = [PhysicsCheck(PhysicsSettings(), recipe.start(), cold) for _ in starts]
    journeys = [Journey([], [], [], []) for _ in starts]
    forces = [p.forces for p in potential.predict([replica.atoms for replica in replicas], "energy")]
    running = list(range(len(starts)))
    for step in range(1, steps + 1):
        temperature_K = cold + (hot - cold) * step / steps
        for i in running:
            checks[i].temperature_K = temperature_K
            replicas[i].set_temperature(temperature_K)
            replicas[i].move(forces[i])
        look = step % EVERY == 0
        predictions = potential.predict([replicas[i].atoms for i in running], "exact" if look else "energy")
        for i, prediction in zip(running, predictions, strict=True):
            forces[i] = prediction.forces
            replicas[i].finish(prediction.forces)
            if look:
                _look(journeys[i], replicas[i], checks[i], prediction, teacher)
        running = [i for i in running if not any(journeys[i].broken)]
        if not running:
            break
    return journeys


def _look(journey: Journey, replica: LangevinReplica, physics: PhysicsCheck, prediction, teacher: Model) -> None:
    truth = teacher(replica.atoms)[1]
    journey.errors.append(np.linalg.norm(prediction.forces - truth, axis=1))
    journey.sigmas.append(prediction.atomic_force_uncertainty)
    journey.distances.append(prediction.latent_distance)
    journey.broken.append(physics.check(replica.atoms, prediction.forces, prediction.energy) is not None)


@dataclass
class Alarms:
    """Steps from leaving to alarm of each trajectory that left, and alarms on steps within the tolerance."""

    delays: list[float]
    false: int = 0
    within: int = 0


def calibrated(journeys: Sequence[Journey], tolerance: float) -> tuple[Calibration, float]:
    """Return the calibration on trajectories, and the threshold with the allowed share of false alarms among them."""
    joined = [[values for j in journeys for values in getattr(j, of)] for of in ("errors", "sigmas", "distances")]
    calibration = Calibration.fit(*joined, tolerance_eV_per_A=tolerance)
    inside = np.concatenate([j.signal(calibration)[~j.beyond(tolerance)] for j in journeys])
    return calibration, float(np.quantile(inside, 1 - AIMED_AT))


def add_alarms(
    alarms: Alarms, journeys: Sequence[Journey], calibration: Calibration, threshold: float, tolerance: float
) -> None:
    """Count on held-out trajectories. A missing alarm has an infinite delay."""
    for journey in journeys:
        beyond, alarm = journey.beyond(tolerance), journey.signal(calibration) > threshold
        alarms.within += int((~beyond).sum())
        alarms.false += int((alarm & ~beyond).sum())
        if beyond.any():
            left = int(np.argmax(beyond))
            late = np.flatnonzero(alarm[left:])
            alarms.delays.append(EVERY * float(late[0]) if late.size else np.inf)
