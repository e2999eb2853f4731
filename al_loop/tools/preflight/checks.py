"""Checks of several config keys together, and of the files that the config names."""

import os
from collections import Counter
from collections.abc import Iterator, Set

from ase.data import atomic_numbers, chemical_symbols

from al_loop.config import Config, SystemSettings
from al_loop.config.explore_settings import Ensemble
from al_loop.config.foundation_names import foundation_name, open_weights, unknown_model
from al_loop.config.problems import show
from al_loop.errors import InputError
from al_loop.files.sources import find_sources
from al_loop.stages.label.resources import check_resources, check_stage_queues
from al_loop.structures.systems import (
    held_out_labels,
    read_system,
    system_symbols,
)
from al_loop.tools.preflight.campaign_size import size_problems
from al_loop.tools.preflight.structure_checks import structure_problems
from al_loop.utils.redaction import holds_password
from committee.errors import UnknownElementError
from committee.settings import CalculatorSettings
from dft_interfaces.engine import DFTEngine
from dft_interfaces.engines import build_engine
from dft_interfaces.queue.limits import disagreements, folder_problems

LONGEST_FOLDER_BYTES = 400  # SQLite opens no path above 512, and pyiron's job tables lie some folders deeper
MONGODB_SCHEMES = ("mongodb://", "mongodb+srv://")
SLOWEST_STEPS = 10  # a barostat must take so many time steps at least


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
    yield from _exploration(config)
    for dotted, system in systems_with_paths(config):
        yield from structure_problems(dotted, system, config)


def systems_with_paths(config: Config) -> Iterator[tuple[str, SystemSettings]]:
    """Yield the dotted path and the settings of every structure, trained on or not."""
    for index, system in enumerate(config.systems):
        yield f"systems[{index}]", system
    for index, system in enumerate(config.hold_out.never_trained):
        yield f"hold_out.never_trained[{index}]", system


def _folder(config: Config) -> Iterator[str]:
    folder = config.folder.expanduser().absolute()
    if folder.resolve() == folder.resolve().parent:
        yield f"folder: received {show(str(config.folder))}, expected a folder of its own, such as runs/my-campaign"
    length = len(os.fsencode(folder))
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
    dotted, foundation = open_weights(config.foundation)
    unknown = unknown_model(foundation)
    if unknown is not None:
        yield f"{dotted}.model: {unknown}"
    if config.train.adapt == "always" and isinstance(config.foundation, CalculatorSettings):
        yield (
            f"train.adapt: received always, but the weights of the foundation {foundation_name(config.foundation)} are"
            " not open; set it to auto or never, which train heads, or choose an open foundation (kind: sevennet or"
            " fairchem)"
        )


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
    budget = config.stop.labels
    try:
        held_out = held_out_labels(config.hold_out)
    except InputError:
        return  # said where the structures are checked
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
    uri = config.store.uri
    if uri is None:
        return
    if not uri.startswith(MONGODB_SCHEMES):
        yield (
            f"store.uri: received {show(uri)}, expected the URI of a MongoDB server, such as mongodb://host:27017/al_loop"
        )
    if holds_password(uri):
        yield (
            f"store.uri: received {show(uri)}, which holds a password; put the URI into a file that only"
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


def _exploration(config: Config) -> Iterator[str]:
    """Yield one sentence for each setting of ``explore`` that contradicts another or has no effect."""
    explore = config.explore
    used = {system.ensemble or explore.ensemble for system in (*config.systems, *config.hold_out.never_trained)}
    thermostats = used & {"langevin", "bussi", "npt"}
    if explore.ramp_to_K is not None and not thermostats:
        yield f"explore.ramp_to_K: received {explore.ramp_to_K:g}, but ensemble {_words(used)} has no thermostat"
    if explore.ramp_to_GPa is not None and "npt" not in used:
        yield (
            f"explore.ramp_to_GPa: received {explore.ramp_to_GPa:g}, but ensemble {_words(used)} has no barostat; use"
            " ensemble npt or remove the key"
        )
    relaxed_cell = explore.relax_cell and "relax" in used
    if explore.pressure_GPa != 0 and "npt" not in used and not relaxed_cell:
        yield (
            f"explore.pressure_GPa: received {explore.pressure_GPa:g}, but ensemble {_words(used)} keeps the cell; use"
            " ensemble npt, or relax with relax_cell, or remove the key"
        )
    if explore.relax_cell and "relax" not in used:
        yield f"explore.relax_cell: received true, but nothing is relaxed (ensemble {_words(used)})"
    if "npt" in used and explore.barostat_relaxation_fs < SLOWEST_STEPS * explore.timestep_fs:
        yield (
            f"explore.barostat_relaxation_fs: received {explore.barostat_relaxation_fs:g}, must be at least"
            f" {SLOWEST_STEPS} time steps ({SLOWEST_STEPS * explore.timestep_fs:g} fs)"
        )
    hottest_K = config.physics.max_temperature_K
    for key, values in (("temperatures_K", explore.temperatures_K), ("ramp_to_K", (explore.ramp_to_K or 0.0,))):
        if max(values) > hottest_K:
            yield (
                f"explore.{key}: received {max(values):g}, above physics.max_temperature_K ({hottest_K:g}): every"
                " trajectory would be stopped there"
            )


def _words(ensembles: set[Ensemble]) -> str:
    return " or ".join(sorted(ensembles))


def check_elements(config: Config, elements: Set[int]) -> None:
    """Make sure that the foundation, trained on these elements, knows every element of every structure.

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


def checked_engine(config: Config) -> DFTEngine:
    """Build the engine, and make sure that it has every element of every structure, and the cores that it needs.

    Raises:
        InputError: naming the elements and where they occur, or what the machine or its queue cannot give.
        DFTInterfaceError: the engine is not installed, or cannot carry out its settings.
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
    check_resources(config.label)
    check_stage_queues(config)
    return engine
