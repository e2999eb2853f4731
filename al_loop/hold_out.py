"""HOLD OUT: frames from independent trajectories that are labelled once and never trained on."""

from collections.abc import Callable, Sequence

import numpy as np

from al_loop.config import Config, ExploreSettings, SystemSettings
from al_loop.explore import explore
from al_loop.records import Lane, Role, Visit
from al_loop.starts import make_starts
from committee.potential import CommitteePotential

SEEDS = {Role.TEST: 2, Role.CALIBRATION: 3, Role.NEVER_TRAINED: 4}


def hold_out(
    config: Config, potential: CommitteePotential, advance: Callable[[int], object] = lambda _: None
) -> list[Visit]:
    """Run the held-out trajectories under the foundation and pick frames in equal shares per condition.

    Args:
        config: the campaign.
        potential: the untrained committee.
        advance: called with the number of trajectories whose frames were picked.
    """
    frames = config.hold_out
    wanted = [
        (Role.TEST, config.systems, frames.test_frames),
        (Role.CALIBRATION, config.systems, frames.calibration_frames),
        (Role.NEVER_TRAINED, frames.never_trained, frames.never_trained_frames * len(frames.never_trained)),
    ]
    picked = []
    for role, systems, count in wanted:
        if systems:
            picked += _picked(config, potential, role, systems, count)
        advance(1)
    return picked


def _picked(
    config: Config, potential: CommitteePotential, role: Role, systems: Sequence[SystemSettings], count: int
) -> list[Visit]:
    starts = make_starts(systems, config.explore, (config.seed, SEEDS[role]), replicas=1)
    share = -(-count // len(starts))
    explore_settings = _long_enough(config.explore, share)
    visits = explore(potential, starts, explore_settings, config.physics, role)
    return [
        visit
        for start in starts
        for visit in _evenly([v for v in visits if v.trajectory == start.trajectory], share)
    ]


def _long_enough(settings: ExploreSettings, share: int) -> ExploreSettings:
    """The same conditions with at least ``share`` checks."""
    return settings.model_copy(update={"steps": max(settings.steps, share * settings.check_every)})


def _evenly(visits: Sequence[Visit], share: int) -> list[Visit]:
    """``share`` frames at equal intervals, the last one included; frames where the physics broke are left out."""
    healthy = [visit for visit in visits if visit.verdict.lane is not Lane.PHYSICS]
    if len(healthy) <= share:
        return healthy
    return [healthy[i] for i in np.linspace(0, len(healthy) - 1, share + 1).round().astype(int)[1:]]
