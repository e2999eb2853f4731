"""HOLD OUT: choose frames of independent trajectories that are labelled once and never trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class HeldOutStart:
    """The start of a held-out trajectory, and the number of frames to take from it."""

    start: Start
    share: int


def held_out_starts(config: Config, former: Sequence[Config] = ()) -> list[HeldOutStart]:
    """The starts of a round's held-out trajectories: all conditions in the first round, then new temperatures only.

    Every condition has an equal share of the frames, a new one that of all conditions of its round.

    Args:
        config: of the round.
        former: of the former rounds.
    """
    known = {temperature_K for one in former for temperature_K in one.explore.temperatures_K}
    new = set(config.explore.temperatures_K) - known
    if not new:
        return []
    return [
        HeldOutStart(start, share)
        for starts, share in _sets(config, len(former))
        for start in starts
        if not former or start.temperature_K in new
    ]


def hold_out(
    config: Config,
    potential: CommitteePotential,
    folder: Path,
    held_out: Sequence[HeldOutStart],
    advance: Advance = show_nothing,
) -> list[Frame]:
    """Run the held-out trajectories under a model and pick each one's share of frames.

    An interrupted run continues from the trajectories in ``folder``.
    """
    settings = config.explore.model_copy(update={"steps": hold_out_steps(config)})
    stored = explore_anywhere(config, folder, potential, [one.start for one in held_out], settings, advance)
    return [
        visit
        for visits, one in zip(stored.by_start(), held_out, strict=True)
        for visit in _evenly(list(visits), one.share)
    ]


def require_held_out(frames: Sequence[Frame]) -> None:
    """Check that there is a frame to test and one to calibrate with.

    Raises:
        GuardStop: there is not.
    """
    if not {Role.TEST, Role.CALIBRATION} <= {frame.role for frame in frames}:
        raise GuardStop(
            "All held-out trajectories broke before the first usable frame: nothing could ever be measured or "
            "promoted. Check the starting structures, lower temperatures_K or timestep_fs, and run again."
        )


def hold_out_steps(config: Config) -> int:
    """MD steps: those of exploration, or more if a trajectory must provide more frames than it has checks."""
    checks = max(share for _, share in _sets(config))
    return max(config.explore.steps, checks * config.explore.check_every)


def _sets(config: Config, round_: int = 0) -> list[tuple[list[Start], int]]:
    """For each role its trajectories, and the number of frames to take from each."""
    frames = config.hold_out
    never_trained = frames.never_trained_frames * sum(map(structure_count, frames.never_trained))
    return [
        _set(config, round_, Role.TEST, config.systems, frames.test_frames),
        _set(config, round_, Role.CALIBRATION, config.systems, frames.calibration_frames),
        _set(config, round_, Role.NEVER_TRAINED, frames.never_trained, never_trained),
    ]


def _set(
    config: Config, round_: int, role: Role, systems: Sequence[SystemSettings], count: int
) -> tuple[list[Start], int]:
    seed = (config.seed, SEEDS[role], *([round_] if round_ else []))
    starts = make_starts(systems, config.explore, role, seed, replicas=1)
    return starts, -(-count // len(starts)) if starts else 0


def _evenly(visits: Sequence[Frame], share: int) -> list[Frame]:
    """``share`` frames at equal intervals, the last one included; unphysical frames are left out."""
    healthy = [visit for visit in visits if visit.verdict.check is not GateCheck.PHYSICS]
    if len(healthy) <= share:
        return healthy
    return [healthy[i] for i in np.linspace(0, len(healthy) - 1, share + 1).round().astype(int)[1:]]
