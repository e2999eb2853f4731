"""What a round explores from: the structures again, and some trajectories from where theirs was stopped."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from ase import Atoms

from al_loop.config import Config
from al_loop.explore.starts import Start, make_starts
from al_loop.records import Role

EXPLORE_SEED, FAILURE_SEED = 1, 7
CONTINUED = "/continued"  # ends the name of such a trajectory


def round_starts(config: Config, round_: int, sound_frames: Callable[[int], Mapping[str, Atoms]]) -> list[Start]:
    """The starts of a round's exploration, the same whenever they are asked for.

    Args:
        config: the campaign.
        round_: number of the round.
        sound_frames: of a former round, the last frame before each trajectory that was stopped, by trajectory.
    """
    seed = (config.seed, EXPLORE_SEED, round_)
    starts = make_starts(config.systems, config.explore, Role.EXPLORE, seed)
    wanted = round(config.explore.from_failures * len(starts))
    if round_ == 0 or not wanted:
        return starts
    former = round_starts(config, round_ - 1, sound_frames)
    sound = sound_frames(round_ - 1)
    stopped = [index for index, start in enumerate(former) if start.trajectory in sound]
    rng = np.random.default_rng([config.seed, FAILURE_SEED, round_])
    for index in rng.permutation(stopped)[:wanted].tolist():
        starts[index] = _continued(former[index], sound[former[index].trajectory], starts[index])
    return starts


def _continued(former: Start, frame: Atoms, planned: Start) -> Start:
    """A frame of a former trajectory as a start, with that trajectory's reference and the planned one's generator."""
    atoms = former.intact.copy()
    if (frame.numbers == atoms.numbers).all():
        atoms.set_cell(frame.cell)
        atoms.positions = frame.positions
        intact = former.intact
    else:  # another campaign stored the same frame first, in another order of atoms
        atoms = intact = frame.copy()
    return replace(planned, trajectory=planned.trajectory + CONTINUED, atoms=atoms, intact=intact)
