"""Checks of several config keys together, and of the files that the config names."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Set

from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from al_loop.config import Config, SystemSettings
from al_loop.config.foundation_names import foundation_name, open_model, unknown_model
from al_loop.config.values import show
from al_loop.errors import InputError
from al_loop.files.sources import find_sources
from al_loop.files.stated import spin_remedy
from al_loop.structures.generators.size import check_size
from al_loop.structures.systems import (
    LoadedStructure,
    SystemStructure,
    as_configured,
    load_structures,
    read_system,
    structure_count,
    system_symbols,
)
from al_loop.tools.preflight.campaign_size import size_problems
from al_loop.tools.preflight.explore_checks import built_structures, exploration_problems, start_problems
from al_loop.utils.redaction import holds_password
from committee.errors import UnknownElementError
from committee.settings import FairchemSettings
from dft_interfaces.bounds import charge_excess
from dft_interfaces.engines import build_engine
from dft_interfaces.queue.limits import disagreements, folder_problems
from dft_interfaces.settings import EngineSettings
from dft_interfaces.structure import multiplicity_exists

LONGEST_FOLDER_BYTES = 400  # SQLite opens no path above 512, and pyiron's job tables lie some folders deeper
SMALLEST_STRAIN, LARGEST_STRAIN = -0.5, 1.0  # beyond them a percentage was meant


def cross_check(config: Config) -> Iterator[str]:
    """Yield one sentence for each problem of a config whose paths are absolute."""
    found = list(_problems(config))
    yield from found or size_problems(config)  # whose structures can be built


def _problems(config: Config) -> Iterator[str]:
    yield from _folder(config)
    yield from _same_names(config)
    yield from _foundation(config)
    yield from _orderings(config)
    yield from _stop(config)
    yield from _align(config)
    yield from _validation(config)
    yield from _queue(config)
    yield from _store(config)
    yield from exploration_problems(config)
    for dotted, system in systems_with_paths(config):
        yield from _structure(dotted, system, config)


def systems_with_paths(config: Config) -> Iterator[tuple[str, SystemSettings]]:
    """Yield the dotted path and the settings of every structure, trained on or not."""
    for index, system in enumerate(config.systems):
        yield f"systems[{index}]", system
    for index, system in enumerate(config.hold_out.never_trained):
        yield f"hold_out.never_trained[{index}]", system


def _folder(config: Config) -> Iterator[str]:
    length = len(os.fsencode(config.folder.expanduser().absolute()))
    if length > LONGEST_FOLDER_BYTES:
        yield (
            f"folder: received a path of {length} bytes, expected at most {LONGEST_FOLDER_BYTES}: the job tables"
            " below it could not be opened"
        )


def _same_names(config: Config) -> Iterator[str]:
    counts = Counter(name for _, system in systems_with_paths(config) for name in _names(system))
    for name, count in counts.items():
        if count > 1:
            yield f"systems: {count} structures have the name {name!r}; give each its own 'name'"


def _names(system: SystemSettings) -> list[str]:
    try:
        return [structure.name for structure in read_system(system)]
    except InputError:
        return [system.name]  # what is wrong is said where the structures are checked


def _foundation(config: Config) -> Iterator[str]:
    dotted, foundation = open_model(config.foundation)
    unknown = unknown_model(foundation)
    if unknown is not None:
        yield f"{dotted}.model: {unknown}"


def _orderings(config: Config) -> Iterator[str]:
    physics, explore = config.physics, config.explore
    if explore.check_every > explore.steps:
        yield (
            f"explore.check_every: received {explore.check_every}, must be at most explore.steps ({explore.steps}):"
            " no frame would be checked"
        )
    if physics.uncomputable_distance_factor >= physics.min_distance_factor:
        yield (
            f"physics.uncomputable_distance_factor: received {physics.uncomputable_distance_factor:g}, must be"
            f" below physics.min_distance_factor ({physics.min_distance_factor:g})"
        )


def _stop(config: Config) -> Iterator[str]:
    if config.stop.time_to_suspect_ps is not None and config.explore.ensemble == "relax":
        yield "stop.time_to_suspect_ps: explore.ensemble relax has no time; remove the key, or explore by dynamics"
    held, budget = config.hold_out, config.stop.labels
    try:
        apart = sum(map(structure_count, held.never_trained))
    except InputError:
        return  # said where the structures are checked
    held_out = held.test_frames + held.calibration_frames + held.never_trained_frames * apart
    if budget is not None and budget <= held_out:
        yield (
            f"stop.labels: received {budget}, but hold_out alone needs {held_out} labels, and none would be left to"
            " train on; raise it, or lower hold_out.test_frames and hold_out.calibration_frames"
        )


def _queue(config: Config) -> Iterator[str]:
    label = config.label
    if label.queue is not None:
        for sentence in disagreements(label.queue, label.engine, label.limits):
            yield f"label.queue.{sentence}"
    for step, queue in (("explore", config.explore.queue), ("train", config.train.queue)):
        if queue is not None:
            yield from (f"{step}.queue.{text}" for text in folder_problems(queue, queue.cores or config.threads))
    queued = [step for step in ("explore", "label", "train") if getattr(config, step).queue is not None]
    if queued and any(character.isspace() for character in str(config.folder.expanduser().absolute())):
        yield f"folder: received {str(config.folder)!r} (with {queued[0]}.queue); queues take no path with a space"


def _store(config: Config) -> Iterator[str]:
    if config.store.uri is not None and holds_password(config.store.uri):
        yield (
            f"store.uri: received {show(config.store.uri)}, which holds a password; put the URI into a file that only"
            " you can read (chmod 600) and name it in store.uri_file, or into MONGODB_URI"
        )


def _align(config: Config) -> Iterator[str]:
    for index, entry in enumerate(config.align.other_labels):
        try:
            find_sources(entry.paths)
        except InputError as error:
            yield f"align.other_labels[{index}].file: {error} (paths are relative to this file)"
    given = set(config.align.isolated_atoms_eV)
    if not given:
        return
    try:
        lacking = {symbol for _, system in systems_with_paths(config) for symbol in system_symbols(system)} - given
    except InputError:
        return  # said where the structures are checked
    if lacking:
        yield f"align.isolated_atoms_eV: {', '.join(sorted(lacking))} missing; give every element or none"


def _validation(config: Config) -> Iterator[str]:
    if config.promote.validation is None:
        return
    from al_loop.tools.validation.requirement import (  # loads the checks and the committee
        required_validation,
        without_reference,
    )

    try:
        required = required_validation(config)
        missing = [] if required is None else without_reference(required)
    except InputError as error:
        yield f"promote.validation: {error}"
        return
    if missing:
        yield (
            f"promote.validation: no candidate could pass: {config.promote.validation.reference} has no values for "
            f"{'; '.join(missing)}. Make it with al-loop validate for these structures, at the config's validation "
            "settings, or remove the check"
        )


def _structure(dotted: str, system: SystemSettings, config: Config) -> Iterator[str]:
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
    where, foundation = open_model(config.foundation)
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
    for key, name, told, neutral in (
        ("charge", "charge", system.charge, 0),
        ("spin", "spin_multiplicity", system.spin_multiplicity, 1),
    ):
        value = atoms.info.get(key, neutral)
        if value != neutral:
            source, remedy = (
                ("received", "remove the key")
                if told is not None
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


def check_elements(config: Config, elements: Set[int]) -> None:
    """Make sure that the foundation knows every element of every structure.

    Args:
        config: as ``load_config`` returns it (structure paths absolute).
        elements: atomic numbers that the foundation was trained on.

    Raises:
        UnknownElementError: naming the elements, where they occur, and what the foundation knows.
    """
    problems = []
    for dotted, system in systems_with_paths(config):
        unknown = sorted({atomic_numbers[symbol] for symbol in system_symbols(system)} - elements)
        if unknown:
            symbols = ", ".join(chemical_symbols[number] for number in unknown)
            problems.append(f"{dotted} ({system.name}) holds {symbols}")
    if problems:
        known = ", ".join(chemical_symbols[number] for number in sorted(elements))
        raise UnknownElementError(
            f"the foundation {foundation_name(config.foundation)} was not trained on every element:"
            f" {'; '.join(problems)}. It knows {known}. Choose another foundation or remove the structure."
        )


def check_engine_elements(config: Config) -> None:
    """Make sure that the engine, which can be built, has every element of every structure.

    Raises:
        InputError: naming the elements and where they occur.
    """
    engine = build_engine(config.label.engine)
    lacking = [
        f"{dotted} ({system.name}) holds {', '.join(unknown)}"
        for dotted, system in systems_with_paths(config)
        if (unknown := engine.unknown_elements(system_symbols(system)))
    ]
    if lacking:
        raise InputError(
            f"label.engine {config.label.engine.engine} cannot calculate every element: {'; '.join(lacking)}. "
            "Choose another basis set, functional or engine, or remove the structure."
        )
