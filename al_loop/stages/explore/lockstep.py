"""EXPLORE: many trajectories in lockstep, one batched evaluation of the served model per step, gated as they go."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from al_loop.config import ExploreSettings, PhysicsSettings
from al_loop.gate.gate import Gate
from al_loop.stages.explore.batched_evaluation import Batches
from al_loop.stages.explore.trajectory import Array, Recorded, Trajectory
from al_loop.structures.start import Start
from committee.potential import CommitteePotential, Uncertainty
from committee.prediction import Prediction, predict_each


class Lockstep:
    """Trajectories of any size and composition that share one evaluation per step.

    With one thread the same batches give the same bits, and an interrupted run goes on with the batches it had: where
    it was interrupted plays no role. SevenNet's answer for a frame does not depend on the rest of the batch either;
    fairchem's does, in the last bits. With more threads, torch may add up sums in another order each time.

    Args:
        potential: the served model; its calibration decides what is trusted.
        starts: beginnings of the trajectories.
        settings: ensemble, steps, time step, interval between gated frames.
        physics: limits of the physics lane.

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
        """How many trajectories have not come to their end."""
        return len(self._running)

    @property
    def ended(self) -> bool:
        """Whether every trajectory has come to its end."""
        return not self._running or self.step > self._settings.steps

    def advance(self) -> list[Recorded]:
        """Take one step with all trajectories.

        Returns:
            Its gated frames: where a check is due, and those that a trajectory was stopped at.
        """
        step, check = self.step, self.step % self._settings.check_every == 0
        for trajectory in self._running if step else ():
            trajectory.move(step)
        found = [trajectory.stop_if_invalid(step) for trajectory in self._running]
        exact = check and self._gate.calibration is not None
        predicted = self._predicted("exact" if exact else "energy", found)
        for trajectory, prediction in predicted:
            found.append(trajectory.finish(prediction, self._gate, step, check=check))
        self._running = [trajectory for trajectory, _ in predicted if trajectory.running]
        self.step += 1
        return [recorded for recorded in found if recorded is not None]

    def state(self) -> dict[int, tuple[dict[str, Array], str]]:
        """The state of each running trajectory by its index, after ``step - 1``."""
        return {trajectory.index: trajectory.state() for trajectory in self._running}

    def restore(self, step: int, states: Mapping[int, tuple[Mapping[str, Any], str]]) -> None:
        """Go on where a run of the same starts, settings and model was."""
        self.step = step
        self._running = [trajectory for trajectory in self._running if trajectory.index in states]
        for trajectory in self._running:
            trajectory.restore(*states[trajectory.index])

    def _predicted(self, uncertainty: Uncertainty, found: list[Recorded | None]) -> list[tuple[Trajectory, Prediction]]:
        """Ask the served model about all trajectories; one that it cannot answer for stops, the others are asked again.

        Returns:
            The trajectories that go on, with their predictions; what stopped the others is added to ``found``.
        """
        running = [trajectory for trajectory in self._running if trajectory.running]
        answers = predict_each(
            partial(self._batches.predict, uncertainty=uncertainty), [trajectory.atoms for trajectory in running]
        )
        predicted = []
        for trajectory, answer in zip(running, answers, strict=True):
            if isinstance(answer, Prediction):
                predicted.append((trajectory, answer))
            else:
                found.append(trajectory.stop(f"the foundation has no answer: {answer.reason}", self.step))
        return predicted
