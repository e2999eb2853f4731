"""EXPLORE: run and gate many trajectories in lockstep, with one batched evaluation of the served model per step."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from al_loop.config import ExploreSettings, PhysicsSettings
from al_loop.gate.gate import Gate
from al_loop.records import Frame
from al_loop.stages.explore.batched_evaluation import Batches
from al_loop.stages.explore.trajectory import Array, Trajectory
from al_loop.structures.start import Start
from committee.potential import CommitteePotential, Uncertainty
from committee.prediction import Prediction, predict_each


class Lockstep:
    """Trajectories of any size and composition that share one evaluation per step.

    With one thread the same batches give the same bits, and an interrupted run continues with the same batches, so the
    result does not depend on the interruption. SevenNet's prediction for a frame does not depend on the rest of the
    batch; fairchem's does, in the last bits. With more threads, torch may add up sums in another order each time.

    Attributes:
        step: the step that is evaluated next; the start is step 0.
    """

    def __init__(
        self,
        potential: CommitteePotential,
        starts: Sequence[Start],
        settings: ExploreSettings,
        physics: PhysicsSettings,
    ) -> None:
        self.step = 0
        self._batches = Batches(potential)
        self._settings = settings
        self._gate = Gate(potential.calibration)
        self._running = [Trajectory(index, start, settings, physics) for index, start in enumerate(starts)]

    @property
    def running(self) -> int:
        """Number of trajectories that have not ended."""
        return len(self._running)

    @property
    def ended(self) -> bool:
        """Whether every trajectory has ended."""
        return not self._running or self.step > self._settings.steps

    def advance(self) -> list[tuple[Trajectory, Frame]]:
        """Take one step with all trajectories.

        Returns:
            Its gated frames, each with its trajectory: all where a check is due, and those at which one stopped.
        """
        step, check = self.step, self.step % self._settings.check_every == 0
        for trajectory in self._running if step else ():
            trajectory.move(step)
        found = [(trajectory, trajectory.stop_if_invalid(step)) for trajectory in self._running]
        exact = check and self._gate.calibration is not None
        predicted = self._predicted("exact" if exact else "energy", found)
        for trajectory, prediction in predicted:
            found.append((trajectory, trajectory.finish(prediction, self._gate, step, check=check)))
        self._running = [trajectory for trajectory, _ in predicted if trajectory.running]
        self.step += 1
        return [(trajectory, frame) for trajectory, frame in found if frame is not None]

    def state(self) -> dict[int, tuple[dict[str, Array], str]]:
        """The state of each running trajectory by its index, after ``step - 1``."""
        return {trajectory.index: trajectory.state() for trajectory in self._running}

    def restore(self, step: int, states: Mapping[int, tuple[Mapping[str, Any], str]]) -> None:
        """Continue from the state of a run with the same starts, settings and model."""
        self.step = step
        self._running = [trajectory for trajectory in self._running if trajectory.index in states]
        for trajectory in self._running:
            trajectory.restore(*states[trajectory.index])

    def _predicted(
        self, uncertainty: Uncertainty, found: list[tuple[Trajectory, Frame | None]]
    ) -> list[tuple[Trajectory, Prediction]]:
        """Predict all trajectories with the served model; one that is refused stops, the others are predicted again.

        Returns:
            The remaining trajectories with their predictions; the last frames of the others are added to ``found``.
        """
        running = [trajectory for trajectory in self._running if trajectory.running]
        predictions = predict_each(
            partial(self._batches.predict, uncertainty=uncertainty), [trajectory.atoms for trajectory in running]
        )
        predicted = []
        for trajectory, prediction in zip(running, predictions, strict=True):
            if isinstance(prediction, Prediction):
                predicted.append((trajectory, prediction))
            else:
                reason = f"the foundation has no answer: {prediction.reason}"
                found.append((trajectory, trajectory.stop(reason, self.step)))
        return predicted
