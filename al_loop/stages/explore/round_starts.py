"""What a round explores from: the structures again, and some trajectories from where theirs was stopped."""

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
CONTINUED = "/continued"  # ends the name of such a trajectory
SAME_PLACE_A = 1e-6


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
    """A frame of a former trajectory as a start, with that trajectory's reference and the planned one's generator.

    The frame may have been stored first by another campaign, in another order of atoms and with other constraints. A
    structure that has constraints or masses of its own is begun anew rather than with those at the wrong atoms.
    """
    atoms = former.intact.copy()
    if (frame.numbers == atoms.numbers).all() and _held(former, frame):
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


def _held(former: Start, frame: Atoms) -> bool:
    """Whether a frame has everything that the start's constraints hold where the trajectory had it."""
    if not former.atoms.constraints:
        return True
    way = frame.positions - former.atoms.positions
    try:
        return bool(np.allclose(displaced(former.atoms, way).positions, frame.positions, rtol=0, atol=SAME_PLACE_A))
    except InputError:
        return False
