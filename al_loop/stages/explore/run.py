"""Exploration that writes its trajectories step by step, here or in a queue, and continues after an interruption."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path

from al_loop.config import Config, ExploreSettings, PhysicsSettings
from al_loop.errors import GuardStop, InputError
from al_loop.records import Frame, VerdictKind
from al_loop.stages.explore.checkpoint import Checkpoint, identity_of, load, save
from al_loop.stages.explore.lockstep import Lockstep
from al_loop.stages.explore.trajectory_io import append, cut, read_frames
from al_loop.stages.queue_job import StageJob
from al_loop.stages.queue_tasks import ExploreTask, TaskFile, kept_model, start_as_dict, step_folder
from al_loop.structures.start import Start
from al_loop.utils.foreign_input import reading
from al_loop.utils.progress import Advance, show_nothing
from committee.potential import CommitteePotential

logger = getLogger(__name__)

STATE, TRAJECTORIES = "state.npz", "trajectories"
_UNFIT = re.compile(r"[^A-Za-z0-9.+-]+")


def trajectories(config: Config, round_: int, stage: str) -> Path:
    """The folder of a stage's trajectories."""
    return config.folder / TRAJECTORIES / f"round-{round_:03d}" / stage


@dataclass(frozen=True)
class StoredTrajectories:
    """Finished trajectories on disk."""

    folder: Path
    starts: Sequence[Start]

    def paths(self) -> list[Path]:
        """The file of each trajectory, in the order of the starts."""
        width = len(str(max(len(self.starts) - 1, 0)))
        return [
            self.folder / f"{index:0{width}d}-{start.role.value}-{_UNFIT.sub('_', start.trajectory)[:100]}.extxyz"
            for index, start in enumerate(self.starts)
        ]

    def visits(self) -> Iterator[Frame]:
        """Yield the gated frames by role, trajectory and step; each is read only when it is needed."""
        pairs = zip(self.starts, self.by_start(), strict=True)
        for _, visits in sorted(pairs, key=lambda pair: (pair[0].role, pair[0].trajectory)):
            yield from visits

    def by_start(self) -> list[Iterator[Frame]]:
        """The gated frames of each trajectory, in the order of the starts."""
        return [read_frames(path, start) for path, start in zip(self.paths(), self.starts, strict=True)]


def require_usable(round_: int, verdicts: Mapping[str, Mapping[str, int]], stored: StoredTrajectories) -> None:
    """Check that a round has explored a frame that is not discarded.

    ``verdicts`` maps checks to kinds to counts, of all explored frames.

    Raises:
        GuardStop: it has not.
    """
    if any(kinds.keys() - {VerdictKind.DISCARD.value} for kinds in verdicts.values()):
        return
    first = next(stored.visits(), None)
    raise GuardStop(
        f"Round {round_}: all trajectories broke before the first usable frame "
        f"({'at the start' if first is None else first.verdict.reason}). "
        "Check the starting structures, lower temperatures_K or timestep_fs, and start again in another folder."
    )


def explore_stored(
    folder: Path,
    potential: CommitteePotential,
    starts: Sequence[Start],
    settings: ExploreSettings,
    physics: PhysicsSettings,
    advance: Advance = show_nothing,
) -> StoredTrajectories:
    """Run every trajectory and store its gated frames on disk, one file for each trajectory.

    At each check the new frames are appended, then the state is replaced. The same call continues an interrupted run
    from its last state, removes frames that were appended later, and with one thread ends with the same bits. If frames
    do not match the checksum in the state, the trajectories are run again from their starts. Only the frames of one
    step are held in memory. Files of a run with another model, start or setting are replaced. ``advance`` is called
    with the number of steps done, those of an interrupted run included.
    """
    stored = StoredTrajectories(folder, starts)
    paths = stored.paths()
    lockstep = Lockstep(potential, starts, settings, physics)
    identity = identity_of(potential, starts, settings, physics)
    folder.mkdir(parents=True, exist_ok=True)
    digests = _resumed(folder, identity, lockstep, paths)
    if digests is None:
        digests = [hashlib.sha256() for _ in paths]
        for path in (path for pattern in ("*.npz", "*.extxyz", "*.tmp") for path in folder.glob(pattern)):
            path.unlink()
    elif lockstep.step > 1:
        advance(lockstep.step - 1)
    while not lockstep.ended:
        for trajectory, frame in lockstep.advance():
            written = append(paths[trajectory.index], frame, trajectory.atoms.get_momenta(), trajectory.energy_eV)
            digests[trajectory.index].update(written)
        if lockstep.ended or (lockstep.step - 1) % settings.check_every == 0:
            sizes = tuple(path.stat().st_size if path.exists() else 0 for path in paths)
            seals = tuple(digest.hexdigest() for digest in digests)
            state = Checkpoint(identity, lockstep.step, sizes, seals, lockstep.state(), ended=lockstep.ended)
            save(folder / STATE, state)
        if lockstep.step > 1:
            advance(1)
    return stored


def _resumed(folder: Path, identity: str, lockstep: Lockstep, paths: Sequence[Path]) -> "list[hashlib._Hash] | None":
    """Restore a run from its last state and return the digests of its files; None if there is no such run."""
    known = load(folder / STATE)
    if known is None or known.identity != identity:
        return None
    try:
        digests = [_checked(*one) for one in zip(paths, known.sizes, known.digests, strict=True)]
    except InputError as error:  # the machine crashed before the frames reached the disk, or they were damaged since
        logger.warning("%s", error)
        return None
    lockstep.restore(known.step, known.states)
    return digests


def _checked(path: Path, size: int, seal: str) -> "hashlib._Hash":
    """Truncate a file to its size in the state, and compare the rest with its checksum.

    Raises:
        InputError: the file is shorter, does not match its checksum, or cannot be read.
    """
    again = f"the trajectories in {path.parent} are run again"
    with reading(path, again):
        cut(path, size)
        if not path.exists():
            return hashlib.sha256()
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    if digest.hexdigest() != seal:
        raise InputError(f"{path} does not match its checksum; {again}")
    return digest


def explore_anywhere(
    config: Config,
    folder: Path,
    potential: CommitteePotential,
    starts: Sequence[Start],
    settings: ExploreSettings,
    advance: Advance = show_nothing,
) -> StoredTrajectories:
    """Run trajectories as ``explore_stored`` does, in one job of a queue if ``explore.queue`` is set.

    Raises:
        CampaignError: the queue lost every job, or the exploration failed there.
    """
    if config.explore.queue is None:
        return explore_stored(folder, potential, starts, settings, config.physics, advance)
    task = ExploreTask(
        threads=config.explore.queue.cores or config.threads,
        foundation=config.foundation,
        model=kept_model(potential, config.folder),
        trajectories=folder,
        starts=[start_as_dict(start) for start in starts],
        settings=settings,
        physics=config.physics,
    )
    place = step_folder(config.folder, "explore", TaskFile(task=task).model_dump_json())
    name = f"explore-{config.name}-{folder.parent.name}-{folder.name}"
    StageJob(place, name, config.explore.queue, task.threads).wait(advance)
    # Reads the trajectories; if a file was lost since, its steps are repeated in this process.
    return explore_stored(folder, potential, starts, settings, config.physics)
