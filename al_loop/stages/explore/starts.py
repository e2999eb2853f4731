"""Starts of trajectories: structures, repeated, varied, strained and displaced, and frames before failures."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.constraints import FixConstraint

from al_loop.config import Config, ExploreSettings, SystemSettings
from al_loop.config.explore_settings import Ensemble
from al_loop.errors import InputError
from al_loop.frames.constraints.motion import displaced
from al_loop.frames.plain_atoms import plain_atoms
from al_loop.records import CONTINUED, Role
from al_loop.structures.start import Start
from al_loop.structures.systems import LoadedStructure, built_variant, load_structures

EXPLORE_SEED, FAILURE_SEED = 1, 7
SAME_PLACE_A = 1e-6


@dataclass(frozen=True)
class _Condition:
    """All that defines the start of a trajectory, except for random numbers."""

    system: SystemSettings
    name: str
    structure: LoadedStructure
    variant: int
    strain: float
    temperature_K: float
    ensemble: Ensemble


def own_constraints(start: Start) -> list[FixConstraint]:
    """Copies of the constraints of a start's structure, for a frame of its trajectory."""
    return [constraint.copy() for constraint in start.intact.constraints]


def make_starts(
    systems: Sequence[SystemSettings],
    explore: ExploreSettings,
    role: Role,
    seed: Sequence[int],
    replicas: int | None = None,
) -> list[Start]:
    """One start for every system, variant, strain, temperature and replica, each with its own random generator.

    ``seed`` is different for each campaign, round and role; ``replicas`` overrides ``explore.replicas``.
    """
    return [
        _start(condition, role, (*seed, number), explore.rattle_A)
        for number, condition in enumerate(
            _conditions(systems, explore, explore.replicas if replicas is None else replicas)
        )
    ]


def _conditions(systems: Sequence[SystemSettings], explore: ExploreSettings, replicas: int) -> Iterator[_Condition]:
    for system, structure in ((one, structure) for one in systems for structure in load_structures(one)):
        ensemble = system.ensemble or explore.ensemble
        temperatures_K = (0.0,) if ensemble == "relax" else explore.temperatures_K
        for variant, tag in enumerate(_variant_tags(system)):
            for strain in system.strains:
                tags = tag + (f"/strain{strain:+g}" if len(system.strains) > 1 else "")
                for temperature_K in temperatures_K:
                    warmth = "relax" if ensemble == "relax" else f"{temperature_K:g}K"
                    for replica in range(replicas):
                        name = f"{structure.name}{tags}/{warmth}/{replica}"
                        yield _Condition(system, name, structure, variant, strain, temperature_K, ensemble)


def _variant_tags(system: SystemSettings) -> list[str]:
    """Tags of a system's variants in the names of trajectories; empty if there is only one."""
    if len(system.variants) == 1:
        return [""]
    kinds = ["+".join(generator.kind for generator in variant) or "as-is" for variant in system.variants]
    seen: Counter[str] = Counter()
    tags = []
    for kind in kinds:
        seen[kind] += 1
        tags.append(f"/{kind}" if seen[kind] == 1 else f"/{kind}-{seen[kind]}")
    return tags


def _start(condition: _Condition, role: Role, seed: tuple[int, ...], rattle_A: float) -> Start:
    rng = np.random.default_rng([*seed, 2])
    intact = built_variant(condition.system, condition.structure.atoms, condition.variant, rng)
    intact.set_cell(intact.cell * (1 + condition.strain), scale_atoms=bool(intact.pbc.any()))
    generator = np.random.default_rng([*seed, 0])
    atoms = displaced(intact, generator.normal(0.0, rattle_A, intact.positions.shape))
    name, temperature_K = condition.name, condition.temperature_K
    return Start(condition.structure.name, name, role, atoms, intact, temperature_K, (*seed, 1), condition.ensemble)


def round_starts(
    config: Config,
    round_: int,
    sound_frames: Callable[[int], Mapping[str, Atoms]],
    config_of: Callable[[int], Config] | None = None,
) -> list[Start]:
    """The starts of a round's exploration; the result is reproducible.

    Args:
        config: of the round.
        round_: the round.
        sound_frames: returns, for a former round, the last frame before each stopped trajectory ended, by trajectory.
        config_of: returns the config of a former round, whose temperatures may have been others; by default the same.
    """
    seed = (config.seed, EXPLORE_SEED, round_)
    starts = make_starts(config.systems, config.explore, Role.EXPLORE, seed)
    count = round(config.explore.from_failures * len(starts))
    if round_ == 0 or not count:
        return starts
    former = round_starts(config if config_of is None else config_of(round_ - 1), round_ - 1, sound_frames, config_of)
    sound, places = sound_frames(round_ - 1), {start.trajectory: place for place, start in enumerate(starts)}
    stopped = [
        index
        for index, start in enumerate(former)
        if start.trajectory in sound and start.trajectory.removesuffix(CONTINUED) in places
    ]
    rng = np.random.default_rng([config.seed, FAILURE_SEED, round_])
    for index in rng.permutation(stopped)[:count].tolist():
        name = former[index].trajectory
        place = places[name.removesuffix(CONTINUED)]
        starts[place] = _continued(former[index], sound[name], starts[place])
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
