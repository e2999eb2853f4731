"""Exploration that keeps its frames in memory, for comparison with a campaign's storage."""

from collections.abc import Sequence

from al_loop.config import ExploreSettings, PhysicsSettings
from al_loop.records import Frame
from al_loop.stages.explore.lockstep import Lockstep
from al_loop.structures.start import Start
from al_loop.utils.progress import Advance, show_nothing
from committee.potential import CommitteePotential


def explore(
    potential: CommitteePotential,
    starts: Sequence[Start],
    settings: ExploreSettings,
    physics: PhysicsSettings,
    advance: Advance = show_nothing,
) -> list[Frame]:
    """Run every trajectory to its end or to the first alarm of the physics check, and keep its gated frames in memory.

    Args:
        potential: the served model; its calibration decides what is trusted.
        starts: beginnings of the trajectories.
        settings: steps, time step, interval between gated frames.
        physics: limits of the physics check.
        advance: called with 1 after each step of all trajectories.

    Returns:
        The gated frames of all trajectories: the start and every ``check_every`` steps. A trajectory that the physics
        check, the discard threshold or a foundation that fails stops ends with the frame it was stopped at.
    """
    lockstep = Lockstep(potential, starts, settings, physics)
    visits: list[Frame] = []
    while not lockstep.ended:
        visits += [frame for _, frame in lockstep.advance()]
        if lockstep.step > 1:
            advance(1)
    return sorted(visits, key=lambda visit: (visit.role, visit.trajectory, visit.step))
