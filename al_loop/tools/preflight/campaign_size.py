"""Estimate trajectories, time, memory and disk of a campaign before it runs, from measured rates.

Orders of magnitude: what is refused for them could not run by far.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from al_loop.config import Config, SystemSettings
from al_loop.config.foundation_names import open_weights
from al_loop.errors import InputError
from al_loop.structures.systems import load_structures, structure_count
from al_loop.tools.preflight.structure_checks import built_structures
from committee.settings import TrainingSettings

MOST_TRAJECTORIES = 100_000
"""Of one round: each has a file of its own, which file systems and people can still list."""
MOST_FRAMES = 10**8
"""Gated frames of a campaign: the ledger holds a document of some kB for each."""
LONGEST_YEARS = 100.0
"""Of exploration, by the estimate: a hundredth of it is the longest that anybody would wait."""

SECONDS_PER_ATOM = {"cpu": 1e-2, "cuda": 1e-4}
"""Of one step. SevenNet-0 took 4 to 19 ms on one core; a GPU is taken to be a hundred times as fast (not measured)."""
PROCESS_BYTES = 1e9  # of memory: Python, torch and a foundation
TRAJECTORY_BYTES, TRAJECTORY_ATOM_BYTES = 10_000, 240  # of memory, measured for 4 to 108 atoms
FRAME_BYTES, FRAME_ATOM_BYTES = 4_000, 250  # of disk: trajectory file and ledger
FEATURES = 128  # of 7net-0 and of UMA's small model, for each atom, in single precision
COPIES = 2  # of the derivatives while a committee is fitted: as they were read, and joined
MARGIN = 3.0  # by which an estimate may exceed this machine before it is refused


@dataclass(frozen=True)
class CampaignSize:
    """A rough estimate of a campaign's size.

    Attributes:
        trajectories: of one round.
        frames: gated frames of the whole campaign.
        atom_steps: atoms times steps of the whole campaign.
        exploring_s: wall time of exploring, s.
        threads: that explore.
        memory_GB: largest memory of the campaign's own process.
        disk_GB: trajectories, ledger and derivatives of the labelled frames.
    """

    trajectories: int
    frames: float
    atom_steps: float
    exploring_s: float
    threads: int
    memory_GB: float
    disk_GB: float

    def __str__(self) -> str:
        return (
            f"about {_duration(self.exploring_s)} to explore on {self.threads} thread(s) ({self.atom_steps:.1g} atoms "
            f"times steps, {self.trajectories} trajectories a round), {self.memory_GB:.2g} GB of memory and "
            f"{self.disk_GB:.1g} GB on disk"
        )


@dataclass(frozen=True)
class _Kind:
    """Trajectories that start from one structure: its atoms, its periodicity, and how many there are of one replica."""

    atoms: int
    strained: bool
    conditions: int


def campaign_size(config: Config) -> CampaignSize:
    """Estimate how large a campaign is; structures are read and built, nothing is computed."""
    explore, held = config.explore, config.hold_out
    kinds = _kinds(config, config.systems)
    never_trained = _kinds(config, held.never_trained)
    apart = sum(map(structure_count, held.never_trained))
    sets = [
        (kinds, explore.replicas * config.rounds, explore.steps),
        (kinds, 1, _held_out_steps(config, kinds, held.test_frames)),
        (kinds, 1, _held_out_steps(config, kinds, held.calibration_frames)),
        (never_trained, 1, _held_out_steps(config, never_trained, held.never_trained_frames * apart)),
    ]
    runs = [(kind.atoms, kind.conditions * replicas, steps) for group, replicas, steps in sets for kind in group]
    atom_steps = sum(float(atoms) * count * steps for atoms, count, steps in runs)
    looks = [(atoms, float(count) * (1 + steps // explore.check_every)) for atoms, count, steps in runs]
    device = open_weights(config.foundation)[1].device
    threads = (explore.queue and explore.queue.cores) or config.threads
    labels = config.rounds * config.select.labels_per_round
    derivatives = min(labels, config.stop.labels or labels) * _derivative_bytes(kinds, config.train)
    moving = explore.replicas * sum(
        kind.conditions * (TRAJECTORY_BYTES + TRAJECTORY_ATOM_BYTES * kind.atoms) for kind in kinds
    )
    return CampaignSize(
        trajectories=explore.replicas * sum(kind.conditions for kind in kinds),
        frames=sum(count for _, count in looks),
        atom_steps=atom_steps,
        exploring_s=atom_steps * SECONDS_PER_ATOM[device] / threads,
        threads=threads,
        memory_GB=(PROCESS_BYTES + max(moving, COPIES * derivatives)) / 1e9,
        disk_GB=(sum(count * (FRAME_BYTES + FRAME_ATOM_BYTES * atoms) for atoms, count in looks) + derivatives) / 1e9,
    )


def size_problems(config: Config) -> Iterator[str]:
    """Yield one sentence for each reason why a campaign of this size cannot run on any machine."""
    size = campaign_size(config)
    if size.trajectories > MOST_TRAJECTORIES:
        yield (
            f"explore.replicas: received {config.explore.replicas}, which makes {size.trajectories:,} trajectories in "
            f"each round (structures, variants, strains and temperatures times replicas), expected at most "
            f"{MOST_TRAJECTORIES:,}: each has a file of its own; lower one of them"
        )
    if size.frames > MOST_FRAMES:
        yield (
            f"explore.check_every: received {config.explore.check_every}, which makes {size.frames:.2g} gated frames, "
            f"expected at most {MOST_FRAMES:.0e}: the ledger holds each; raise it, or lower steps, replicas or rounds"
        )
    years = size.exploring_s / (365 * 86_400)
    if years > LONGEST_YEARS:
        yield (
            f"explore.steps: received {config.explore.steps}, which makes {size.atom_steps:.2g} atoms times steps in "
            f"all, about {years:.1g} years of exploring on {size.threads} thread(s), expected at most "
            f"{LONGEST_YEARS:g}; lower steps, replicas, rounds or the number of atoms"
        )


def check_machine(config: Config, size: CampaignSize) -> None:
    """Compare a campaign's size with the memory of this machine and the disk space of its folder.

    Raises:
        InputError: it needs several times the available memory or space.
    """
    if config.explore.queue is None and config.train.queue is None:
        memory_GB = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
        if size.memory_GB > MARGIN * memory_GB:
            raise InputError(
                f"the campaign needs about {size.memory_GB:.2g} GB of memory, and this machine has {memory_GB:.2g} GB. "
                "Lower explore.replicas, select.labels_per_round, rounds, train.exact_up_to_atoms or "
                "train.random_directions, or use a larger machine"
            )
    folder = config.folder.expanduser().absolute()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    _check_disk(nearest, size)


def _check_disk(place: Path, size: CampaignSize) -> None:
    free_GB = shutil.disk_usage(place).free / 1e9
    if size.disk_GB > MARGIN * free_GB:
        raise InputError(
            f"folder: the campaign writes about {size.disk_GB:.2g} GB, and {place} has {free_GB:.2g} GB left. Raise "
            "explore.check_every, lower explore.steps, explore.replicas or rounds, or choose another folder"
        )


def _kinds(config: Config, systems: Sequence[SystemSettings]) -> list[_Kind]:
    found = []
    for system in systems:
        relaxes = (system.ensemble or config.explore.ensemble) == "relax"
        conditions = len(system.strains) * (1 if relaxes else len(config.explore.temperatures_K))
        for structure in load_structures(system):
            for _, atoms in built_structures("", system, structure)[0]:
                found.append(_Kind(len(atoms), bool(atoms.pbc.all()), conditions))
    return found


def _held_out_steps(config: Config, kinds: Sequence[_Kind], frames: int) -> int:
    """Steps of held-out trajectories: more than those of exploration where each gives more frames than that has."""
    conditions = max(1, sum(kind.conditions for kind in kinds))
    return max(config.explore.steps, -(-frames // conditions) * config.explore.check_every)


def _derivative_bytes(kinds: Sequence[_Kind], train: TrainingSettings) -> float:
    """Of a labelled frame, the mean over the trajectories it may come from."""
    count = max(1, sum(kind.conditions for kind in kinds))
    return sum(kind.conditions * _tangent_bytes(kind, train) for kind in kinds) / count


def _tangent_bytes(kind: _Kind, train: TrainingSettings) -> float:
    count = train.random_count(kind.atoms, strained=kind.strained)
    directions = 3 * kind.atoms + 6 * kind.strained if count is None else 1 + count + train.fitted_directions
    return 4.0 * directions * kind.atoms * FEATURES


def _duration(seconds: float) -> str:
    """Return a number with one digit, the precision of an estimate."""
    for unit, length in (("years", 365 * 86_400), ("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{float(f'{seconds / length:.1g}'):g} {unit}"
    return f"{float(f'{seconds:.1g}'):g} s"
