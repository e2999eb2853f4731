"""Checks of structures before anything is computed; every variant is built once."""

from collections.abc import Iterable, Iterator

import numpy as np
from ase import Atoms

from al_loop.config import Config, SystemSettings
from al_loop.config.explore_settings import Ensemble
from al_loop.config.foundation_names import open_weights
from al_loop.config.generator_settings import LARGEST_STRAIN, SMALLEST_STRAIN
from al_loop.errors import InputError
from al_loop.files.stated import spin_remedy
from al_loop.frames.constraints.building import refuse_anchored
from al_loop.frames.constraints.policy import Motion, motion_of, refusal
from al_loop.structures.generators.cells import check_size
from al_loop.structures.systems import (
    LoadedStructure,
    SystemStructure,
    as_configured,
    built_variant,
    load_structures,
    read_system,
)
from committee.settings import FairchemSettings
from dft_interfaces.bounds import charge_excess, density_excess, initial_moment_excess, length_excess
from dft_interfaces.geometry.vacuum import gaps_A, vacuum_axes
from dft_interfaces.settings import EngineSettings
from dft_interfaces.structure import multiplicity_exists

_KEEPS_THE_CELL = {"npt": "langevin or bussi", "relax": "relax without relax_cell"}


def structure_problems(dotted: str, system: SystemSettings, config: Config) -> Iterator[str]:
    """Yield one sentence for each problem of a system, of its structures and of what is built from them."""
    if "FILL-IN" in str(system.file):
        yield f"{dotted}.file: still a placeholder (FILL-IN); put the path of your structure there"
        return
    try:
        structures = read_system(system)
    except InputError as error:
        yield f"{dotted}.{error}"
        return
    of_the_cell = [] if system.ordered else _of_each(_cell(dotted, system, one.cell) for one in structures)
    yield from of_the_cell
    cells = []
    for structure in structures:
        try:
            cells.append((structure, as_configured(system, structure)))
        except InputError as error:
            yield f"{dotted}.{error}"
            return
    if of_the_cell:  # which then is not repeated
        yield from _of_each(_statements(dotted, system, config, *one) for one in cells)
        yield from _of_each(_engine(dotted, config.label.engine, atoms) for _, atoms in cells)
        return
    try:
        loaded = load_structures(system)
    except InputError as error:  # constraints that cannot be repeated
        yield f"{dotted}.{error}"
        return
    yield from _of_each(
        _statements(dotted, system, config, one, whole.atoms) for (one, _), whole in zip(cells, loaded, strict=True)
    )
    yield from _of_each(
        _variants(dotted, system, config, atoms, whole) for (_, atoms), whole in zip(cells, loaded, strict=True)
    )


def built_structures(
    dotted: str, system: SystemSettings, structure: LoadedStructure
) -> tuple[list[tuple[str, Atoms]], list[str]]:
    """What trajectories of a checked structure start from, with dotted paths, and what could not be built."""
    atoms, rng = structure.atoms, np.random.default_rng(0)
    built: list[tuple[str, Atoms]] = []
    problems: list[str] = []
    for index, variant in enumerate(system.variants):
        where = f"{dotted}.variants[{index}]"
        try:
            built.append((where if variant else dotted, built_variant(system, atoms, index, rng)))
        except InputError as error:
            problems.append(f"{where}{error}")
    return built, problems


def start_problems(where: str, dotted: str, system: SystemSettings, config: Config, atoms: Atoms) -> Iterator[str]:
    """Yield one sentence for each way in which a built structure cannot be explored as it is meant to be.

    Args:
        where: path of the variant.
        dotted: path of the system.
        system: its settings.
        config: the campaign.
        atoms: the structure.
    """
    if excess := initial_moment_excess(atoms):
        yield f"{dotted}.initial_magnetic_moments: {excess}"
    if excess := length_excess(atoms) or density_excess(atoms):
        yield f"{where}: {excess}"
    ensemble = system.ensemble or config.explore.ensemble
    motion = motion_of(ensemble, relax_cell=config.explore.relax_cell)
    yield from _constraints(where, dotted, system, ensemble, motion, atoms)
    if motion is Motion.CELL:
        yield from _cell_moves(where, dotted, ensemble, atoms)
    empty = vacuum_axes(atoms)
    if atoms.pbc.all() and empty and any(system.strains):
        yield (
            f"{dotted}.strains: {where} holds vacuum along {', '.join(empty)}, which cannot be strained; strain the"
            " bulk before it is cut, or the slab's plane, with a strain generator"
        )
    multiplicity = atoms.info.get("spin")
    electrons = int(atoms.numbers.sum()) - atoms.info["charge"]
    if where != dotted and multiplicity is not None and not multiplicity_exists(electrons, multiplicity):
        stated = "remove the key" if system.spin_multiplicity is not None else "take it out of the file"
        yield (
            f"{dotted}.spin_multiplicity: {multiplicity} is impossible for {where} with {electrons} electrons; give"
            f" each variant a system of its own, or {stated}"
        )


def _constraints(
    where: str, dotted: str, system: SystemSettings, ensemble: Ensemble, motion: Motion, atoms: Atoms
) -> Iterator[str]:
    """Raise for constraints that the ensemble does not support."""
    remedy = f"set {dotted}.ensemble to {_KEEPS_THE_CELL[ensemble]}" if motion is Motion.CELL else ""
    objection = refusal(atoms, motion, remedy)
    if objection is not None:
        yield f"{where}: the structure of {system.file} {objection}"
    elif any(system.strains):
        try:
            refuse_anchored(atoms)
        except InputError as error:
            yield f"{dotted}.strains: {error}"


def _cell_moves(where: str, dotted: str, ensemble: Ensemble, atoms: Atoms) -> Iterator[str]:
    what = "npt" if ensemble == "npt" else "relax with relax_cell"
    remedy = _KEEPS_THE_CELL[ensemble]
    if not atoms.pbc.all():
        directions = [axis for axis, periodic in zip("abc", atoms.pbc, strict=True) if periodic]
        yield (
            f"{where}: ensemble {what} needs a cell that is periodic in three directions, but"
            f" {atoms.get_chemical_formula()} is periodic in {', '.join(directions) or 'none'}; set {dotted}.ensemble"
            f" to {remedy}"
        )
        return
    empty = vacuum_axes(atoms)
    if empty:
        widest = gaps_A(atoms).max()
        yield (
            f"{where}: ensemble {what} would close the vacuum of {widest:.1f} Å that {atoms.get_chemical_formula()}"
            f" holds along {', '.join(empty)}; set {dotted}.ensemble to {remedy}"
        )


def _of_each(problems: Iterable[Iterator[str]]) -> list[str]:
    """The problems of several structures, each once."""
    return list(dict.fromkeys(problem for found in problems for problem in found))


def _variants(
    dotted: str, system: SystemSettings, config: Config, cell: Atoms, structure: LoadedStructure
) -> Iterator[str]:
    """Build every explored structure, and check each with the engine (the file's own cell without repeats)."""
    built, problems = built_structures(dotted, system, structure)
    yield from problems
    for where, atoms in built:
        yield from start_problems(where, dotted, system, config, atoms)
        yield from _engine(dotted, config.label.engine, cell if where == dotted else atoms)


def _statements(
    dotted: str, system: SystemSettings, config: Config, structure: SystemStructure, atoms: Atoms
) -> Iterator[str]:
    """Charge and spin against the electrons, and against a fairchem task.

    A task depends on both or was trained without them, so neither may be guessed or ignored.
    """
    yield from _electrons(dotted, system, structure, atoms)
    where, foundation = open_weights(config.foundation)
    if not isinstance(foundation, FairchemSettings):
        return
    task = f"{where}.task_name {foundation.task_name}"
    if foundation.task_name == "omol":
        if "spin" not in atoms.info:
            yield (
                f"{dotted}.spin_multiplicity: missing, and {structure.source} states none, but {task} depends on it; 1"
                " for a closed-shell molecule"
            )
        return
    for key, name, stated, neutral in (
        ("charge", "charge", system.charge, 0),
        ("spin", "spin_multiplicity", system.spin_multiplicity, 1),
    ):
        value = atoms.info.get(key, neutral)
        if value != neutral:
            source, remedy = (
                ("received", "remove the key")
                if stated is not None
                else (f"{structure.source} states", "take it out of the file")
            )
            yield f"{dotted}.{name}: {source} {value}, but {task} knows no {name}; {remedy}, or use task_name omol"


def _engine(dotted: str, settings: EngineSettings, atoms: Atoms) -> Iterator[str]:
    for objection in settings.objections(atoms):
        if objection.about in SystemSettings.model_fields:
            yield f"{dotted}.{objection.about}: {objection.text}"
        else:
            yield f"label.engine.{objection.about}: {objection.text} ({dotted})"


def _cell(dotted: str, system: SystemSettings, atoms: Atoms) -> Iterator[str]:
    if any(repeat < 1 for repeat in system.supercell):
        yield f"{dotted}.supercell: received {list(system.supercell)}, expected three whole numbers of 1 or more"
    try:
        check_size(len(atoms), *system.supercell)
    except InputError as error:
        yield f"{dotted}.supercell: {error}"
    if any(not SMALLEST_STRAIN < strain < LARGEST_STRAIN for strain in system.strains):
        yield (
            f"{dotted}.strains: received {list(system.strains)}, expected fractions between -0.5 and 1 (0.03 is 3 %)"
        )
    if atoms.pbc.all():
        return
    if system.supercell != (1, 1, 1):
        yield f"{dotted}.supercell: {system.file} is not periodic in three directions and cannot be repeated"
    if any(strain != 0 for strain in system.strains):
        yield f"{dotted}.strains: {system.file} has no periodic cell to strain; remove the key"


def _electrons(dotted: str, system: SystemSettings, structure: SystemStructure, atoms: Atoms) -> Iterator[str]:
    protons = int(atoms.numbers.sum())
    charge, multiplicity = atoms.info["charge"], atoms.info.get("spin")
    electrons = protons - charge
    excess = charge_excess(protons, charge)
    if excess:
        yield f"{dotted}.charge: {excess}; the neutral structure has {protons} electrons"
    elif multiplicity is not None and not multiplicity_exists(electrons, multiplicity):
        source = "" if system.spin_multiplicity is not None else f"{structure.source} states "
        yield (
            f"{dotted}.spin_multiplicity: {source}{multiplicity}, which is impossible with {electrons} electrons"
            f" (charge {charge:+d}); {spin_remedy(electrons)}, or correct the charge"
        )
