"""HOLD OUT: choose frames of independent trajectories that are labelled once and never trained on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from al_loop.config import Config, SystemSettings
from al_loop.errors import GuardStop
from al_loop.records import Frame, GateCheck, Role
from al_loop.stages.explore.run import explore_anywhere
from al_loop.stages.explore.starts import make_starts
from al_loop.structures.start import Start
from al_loop.structures.systems import structure_count
from al_loop.utils.progress import Advance, show_nothing
from committee.potential import CommitteePotential

SEEDS = {Role.TEST: 2, Role.CALIBRATION: 3, Role.NEVER_TRAINED: 4}


def hold_out(
    config: Config, potential: CommitteePotential, folder: Path, advance: Advance = show_nothing
) -> list[Frame]:
    """Run the held-out trajectories under the foundation and pick frames in equal shares per condition.

    An interrupted run continues from the trajectories in ``folder``.

    Raises:
        GuardStop: there is no usable frame to test or to calibrate with.
    """
    sets = _sets(config)
    starts = [start for one, _ in sets for start in one]
    settings = config.explore.model_copy(update={"steps": hold_out_steps(config)})
    stored = explore_anywhere(config, folder, potential, starts, settings, advance)
    shares = [share for one, share in sets for _ in one]
    held_out = [
        visit for visits, share in zip(stored.by_start(), shares, strict=True) for visit in _evenly(list(visits), share)
    ]
    if not {Role.TEST, Role.CALIBRATION} <= {visit.role for visit in held_out}:
        raise GuardStop(
            "All held-out trajectories broke before the first usable frame: nothing could ever be measured or "
            "promoted. Check the starting structures, lower temperatures_K or timestep_fs, and run again."
        )
    return held_out


def hold_out_steps(config: Config) -> int:
    """MD steps: those of exploration, or more if a trajectory must provide more frames than it has checks."""
    checks = max(share for _, share in _sets(config))
    return max(config.explore.steps, checks * config.explore.check_every)


def _sets(config: Config) -> list[tuple[list[Start], int]]:
    """For each role its trajectories, and the number of frames to take from each."""
    frames = config.hold_out
    never_trained = frames.never_trained_frames * sum(map(structure_count, frames.never_trained))
    return [
        _set(config, Role.TEST, config.systems, frames.test_frames),
        _set(config, Role.CALIBRATION, config.systems, frames.calibration_frames),
        _set(config, Role.NEVER_TRAINED, frames.never_trained, never_trained),
    ]


def _set(config: Config, role: Role, systems: Sequence[SystemSettings], count: int) -> tuple[list[Start], int]:
    starts = make_starts(systems, config.explore, role, (config.seed, SEEDS[role]), replicas=1)
    return starts, -(-count // len(starts)) if starts else 0


def _evenly(visits: Sequence[Frame], share: int) -> list[Frame]:
    """``share`` frames at equal intervals, the last one included; unphysical frames are left out."""
    healthy = [visit for visit in visits if visit.verdict.check is not GateCheck.PHYSICS]
    if len(healthy) <= share:
        return healthy
    return [healthy[i] for i in np.linspace(0, len(healthy) - 1, share + 1).round().astype(int)[1:]]
