"""Starts of trajectories: starting structures, repeated, varied, strained and displaced."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase.constraints import FixConstraint

from al_loop.config import ExploreSettings, SystemSettings
from al_loop.config.explore_settings import Ensemble
from al_loop.frames.constraints.motion import displaced
from al_loop.records import Role
from al_loop.structures.start import Start
from al_loop.structures.systems import LoadedStructure, built_variant, load_structures


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

    Args:
        systems: the starting structures.
        explore: ensemble, temperatures, replicas and displacement.
        role: of the frames.
        seed: entropy that is different for each campaign, round and role.
        replicas: overrides ``explore.replicas``.
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
