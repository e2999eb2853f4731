"""Starting structures: repeated, strained, displaced, and turned into trajectories to run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from al_loop.config import ExploreSettings, SystemSettings
from al_loop.config.moments import set_moments
from al_loop.config.structure_file import read_structure
from al_loop.records import Role


@dataclass(frozen=True)
class Start:
    """The beginning of one trajectory.

    Attributes:
        system: name of the starting structure.
        trajectory: unique name within a round and role.
        role: what its frames are for.
        atoms: displaced starting positions, ``charge`` and ``spin`` in ``atoms.info``.
        intact: the same structure before displacement, the reference of the physics lane.
        temperature_K: of the thermostat.
        seed: entropy of the trajectory's own random generator.
    """

    system: str
    trajectory: str
    role: Role
    atoms: Atoms
    intact: Atoms
    temperature_K: float
    seed: tuple[int, ...]


def load_system(system: SystemSettings) -> Atoms:
    """Read one structure; charge and spin multiplicity travel in ``atoms.info``, moments as initial moments.

    Raises:
        InputError: the file is missing, unreadable or holds no atoms, or moments that do not fit.
    """
    atoms = read_structure(system.file)
    plain = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if atoms.has("initial_magmoms"):
        plain.set_initial_magnetic_moments(atoms.get_initial_magnetic_moments())
    set_moments(plain, system.initial_magnetic_moments)
    plain = plain.repeat(system.supercell)
    plain.info["charge"] = system.charge
    if system.spin_multiplicity is not None:
        plain.info["spin"] = system.spin_multiplicity
    return plain


def make_starts(
    systems: Sequence[SystemSettings],
    explore: ExploreSettings,
    role: Role,
    seed: Sequence[int],
    replicas: int | None = None,
) -> list[Start]:
    """One start for every system, strain, temperature and replica, each with a generator of its own.

    Args:
        systems: the starting structures.
        explore: temperatures, replicas and displacement.
        role: what the frames are for.
        seed: entropy that tells campaign, round and role apart.
        replicas: overrides ``explore.replicas``.
    """
    return [
        _displaced(system.name, name, role, intact, temperature_K, (*seed, number), explore.rattle_A)
        for number, (system, name, intact, temperature_K) in enumerate(
            _conditions(systems, explore, explore.replicas if replicas is None else replicas)
        )
    ]


def _conditions(
    systems: Sequence[SystemSettings], explore: ExploreSettings, replicas: int
) -> Iterator[tuple[SystemSettings, str, Atoms, float]]:
    for system in systems:
        atoms = load_system(system)
        for strain in system.strains:
            strained = atoms.copy()
            strained.set_cell(atoms.cell * (1 + strain), scale_atoms=bool(atoms.pbc.any()))
            tag = f"/strain{strain:+g}" if len(system.strains) > 1 else ""
            for temperature_K in explore.temperatures_K:
                for replica in range(replicas):
                    yield system, f"{system.name}{tag}/{temperature_K:g}K/{replica}", strained, temperature_K


def _displaced(
    system: str,
    trajectory: str,
    role: Role,
    intact: Atoms,
    temperature_K: float,
    seed: tuple[int, ...],
    rattle_A: float,
) -> Start:
    atoms = intact.copy()
    generator = np.random.default_rng([*seed, 0])
    atoms.positions += generator.normal(0.0, rattle_A, atoms.positions.shape)
    return Start(system, trajectory, role, atoms, intact, temperature_K, (*seed, 1))
