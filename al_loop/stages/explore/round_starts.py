"""Starts of a round's exploration: the starting structures, and some frames before earlier trajectories stopped."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from ase import Atoms

from al_loop.config import Config
from al_loop.errors import InputError
from al_loop.frames.constraints.motion import displaced
from al_loop.frames.plain_atoms import plain_atoms
from al_loop.records import Role
from al_loop.stages.explore.starts import make_starts
from al_loop.structures.start import Start

EXPLORE_SEED, FAILURE_SEED = 1, 7
CONTINUED = "/continued"  # suffix of the name of a continued trajectory
SAME_PLACE_A = 1e-6


def round_starts(config: Config, round_: int, sound_frames: Callable[[int], Mapping[str, Atoms]]) -> list[Start]:
    """The starts of a round's exploration; the result is reproducible.

    Args:
        config: the campaign.
        round_: number of the round.
        sound_frames: for a former round, the last frame before each stopped trajectory ended, by trajectory.
    """
    seed = (config.seed, EXPLORE_SEED, round_)
    starts = make_starts(config.systems, config.explore, Role.EXPLORE, seed)
    count = round(config.explore.from_failures * len(starts))
    if round_ == 0 or not count:
        return starts
    former = round_starts(config, round_ - 1, sound_frames)
    sound = sound_frames(round_ - 1)
    stopped = [index for index, start in enumerate(former) if start.trajectory in sound]
    rng = np.random.default_rng([config.seed, FAILURE_SEED, round_])
    for index in rng.permutation(stopped)[:count].tolist():
        starts[index] = _continued(former[index], sound[former[index].trajectory], starts[index])
    return starts


def _continued(former: Start, frame: Atoms, planned: Start) -> Start:
    """A start from a frame of a former trajectory, with that trajectory's reference and the planned one's seed.

    The frame may have been stored first by another campaign, in another order of atoms and with other constraints. If
    the structure has constraints or masses, the planned start is then used, rather than assign them to wrong atoms.
    """
    atoms = former.intact.copy()
    if (frame.numbers == atoms.numbers).all() and _satisfies_constraints(former, frame):
        atoms.set_cell(frame.cell)
        atoms.positions = frame.positions
        intact = former.intact
    elif atoms.constraints or atoms.has("masses"):
        return planned
    else:
        atoms = plain_atoms(frame)
        atoms.set_constraint()
        atoms.arrays.pop("masses", None)
        intact = atoms
    return replace(planned, trajectory=planned.trajectory + CONTINUED, atoms=atoms, intact=intact)


def _satisfies_constraints(former: Start, frame: Atoms) -> bool:
    """Whether a frame satisfies the start's constraints."""
    if not former.atoms.constraints:
        return True
    way = frame.positions - former.atoms.positions
    try:
        return bool(np.allclose(displaced(former.atoms, way).positions, frame.positions, rtol=0, atol=SAME_PLACE_A))
    except InputError:
        return False
