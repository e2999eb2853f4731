"""One running trajectory: its start, its dynamics, its physics check, its latest forces."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.config import ExploreSettings, PhysicsSettings
from al_loop.dynamics.ensembles import make_replica, ramp
from al_loop.gate.gate import Gate, GatedPrediction
from al_loop.gate.physics import PhysicsCheck, not_computable
from al_loop.records import Frame, GateCheck, Verdict, VerdictKind
from al_loop.stages.explore.starts import own_constraints
from al_loop.structures.descriptors import frame_descriptor
from al_loop.structures.start import Start
from al_loop.utils.content_hash import frame_id
from committee.prediction import Prediction

Array = NDArray[np.float64]


class Trajectory:
    """A running trajectory.

    Args:
        index: its number among the starts.
        start: starting structure and conditions.
        settings: ensemble, steps, time step, ramps.
        physics: limits of the physics check.

    Attributes:
        stopped: the verdict that stopped it, None while it runs.
        converged: the relaxation has reached its minimum.
        energy_eV: potential energy of the latest gated frame, None without a prediction.
    """

    def __init__(self, index: int, start: Start, settings: ExploreSettings, physics: PhysicsSettings) -> None:
        self.index = index
        self.start = start
        self.stopped: Verdict | None = None
        self.converged = False
        self.energy_eV: float | None = None
        self._settings = settings
        ensemble = start.ensemble or settings.ensemble
        self._replica = make_replica(
            ensemble, start.atoms.copy(), start.temperature_K, settings, np.random.default_rng(start.seed)
        )
        self._ramped = ensemble not in {"nve", "relax"}
        self._physics = PhysicsCheck(
            physics, start.intact, start.temperature_K, ensemble=ensemble, timestep_fs=settings.timestep_fs
        )
        self._temperature_K = start.temperature_K
        self._lost = ""
        self._forces: Array = np.zeros_like(start.atoms.positions)

    @property
    def atoms(self) -> Atoms:
        """The current structure, with velocities; must not be modified."""
        return self._replica.atoms

    @property
    def running(self) -> bool:
        """Whether it has neither stopped nor converged."""
        return self.stopped is None and not self.converged

    def move(self, step: int) -> None:
        """First half of a step: new positions, at the temperature and pressure of that step."""
        if self._ramped:
            settings = self._settings
            self._temperature_K = ramp(self.start.temperature_K, settings.ramp_to_K, step, settings.steps)
            self._replica.set_temperature(self._temperature_K)
            self._replica.set_pressure(ramp(settings.pressure_GPa, settings.ramp_to_GPa, step, settings.steps))
            self._physics.temperature_K = self._temperature_K
        try:
            self._replica.move(self._forces)
        except RuntimeError as error:
            self._lost = _unsatisfied(error)

    def stop_if_invalid(self, step: int) -> Frame | None:
        """Stop if the structure is invalid."""
        if self._lost:
            return self.stop(self._lost, step)
        self.stopped = self._physics.check_step(self.atoms, self._forces)
        return None if self.stopped is None else self._frame(GatedPrediction.without(self.stopped), step)

    def stop(self, reason: str, step: int) -> Frame:
        """Stop because there is no prediction for the frame."""
        self.stopped = not_computable(reason)
        return self._frame(GatedPrediction.without(self.stopped), step)

    def finish(self, prediction: Prediction, gate: Gate, step: int, *, check: bool) -> Frame | None:
        """Second half of a step, then the checks: the cheap ones on every frame, all of them where a check is due."""
        if self._replica.needs_stress and prediction.stress is None:
            return self.stop("the foundation has no stress, which the motion of the cell requires", step)
        self._forces = prediction.forces
        try:
            (self._replica.finish if step else self._replica.begin)(prediction.forces, prediction.stress)
        except RuntimeError as error:
            return self.stop(_unsatisfied(error), step)
        return self._checked(prediction, gate, step, check=check)

    def state(self) -> tuple[dict[str, Array], str]:
        """All that the next step depends on: arrays with every bit, and the rest as JSON."""
        arrays = {f"replica.{name}": value for name, value in self._replica.state().items()}
        plain = {"rng": self._replica.rng.bit_generator.state, "check": self._physics.state()}
        return {**arrays, "forces": self._forces}, json.dumps(plain, default=_as_json)

    def restore(self, arrays: Mapping[str, Any], plain: str) -> None:
        """Continue from ``state()`` of a trajectory with the same start and settings."""
        known = json.loads(plain)
        self._replica.restore({name.removeprefix("replica."): value for name, value in arrays.items()})
        self._replica.rng.bit_generator.state = known["rng"]
        self._physics.restore(known["check"])
        self._forces = np.array(arrays["forces"])

    def _checked(self, prediction: Prediction, gate: Gate, step: int, *, check: bool) -> Frame | None:
        physics_check = self._physics.check if check else self._physics.check_step
        found = physics_check(self.atoms, prediction.forces, prediction.energy)
        if check:
            gated = gate.evaluate(prediction, found)
            if not step:
                sigma = gated.force_uncertainty
                gated = replace(
                    gated, checks={check: _at_start(verdict, sigma) for check, verdict in gated.checks.items()}
                )
        elif found is not None:
            gated = GatedPrediction(prediction, {GateCheck.PHYSICS: found})
        else:
            return None
        if gated.verdict.stop:
            self.stopped = gated.verdict
        self.converged = check and self._replica.converged(self._settings.relaxed_below_eV_per_A)
        return self._frame(gated, step)

    def _frame(self, gated: GatedPrediction, step: int) -> Frame:
        prediction, sigma = gated.prediction, gated.force_uncertainty
        atoms = self.atoms.copy()
        atoms.arrays.pop("momenta", None)
        atoms.set_constraint(own_constraints(self.start))
        distance = None if prediction is None else prediction.latent_distance
        self.energy_eV = None if prediction is None else prediction.energy
        return Frame(
            frame_id=frame_id(atoms),
            atoms=atoms,
            role=self.start.role,
            system=self.start.system,
            trajectory=self.start.trajectory,
            step=step,
            temperature_K=self._temperature_K,
            verdict=gated.verdict,
            force_uncertainty_eV_per_A=None if sigma is None else float(sigma.max()),
            latent_distance=None if distance is None else float(distance.max()),
            frame_uncertainty_eV_per_A=gated.frame_uncertainty,
            descriptor=None if prediction is None else frame_descriptor(prediction.features, atoms.numbers),
            checks={check: Verdict(verdict.kind, check, verdict.reason) for check, verdict in gated.checks.items()},
        )


def _unsatisfied(error: RuntimeError) -> str:
    """Message with ASE's error where it can no longer satisfy a constraint: the structure has dissociated."""
    return f"a constraint cannot be satisfied any more ({error})"


def _at_start(verdict: Verdict, sigma: Array | None) -> Verdict:
    """A starting structure is never discarded for its uncertainty: the model would never learn it."""
    if verdict.kind is not VerdictKind.DISCARD or verdict.check is not GateCheck.FORCE_UNCERTAINTY:
        return verdict
    if sigma is None or not np.isfinite(sigma).all():
        return verdict
    return replace(verdict, kind=VerdictKind.SUSPECT, stop=False)


def _as_json(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be stored in a trajectory's state")
