"""The structures of a system: read from its file, selected, ordered, with charge, spin and moments of the config."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms

from al_loop.config.explore_settings import Frames, HoldOutSettings, SystemSettings, set_moments
from al_loop.config.generator_settings import AdsorbateSettings, InterfaceSettings
from al_loop.errors import InputError
from al_loop.files.structures import ChosenFrames, choose_frames
from al_loop.frames.constraints.building import repeated, resolved
from al_loop.frames.plain_atoms import plain_atoms
from al_loop.structures.generators import apply_variant
from al_loop.structures.generators.cells import check_size
from al_loop.structures.ordering import ordered_cells
from al_loop.utils.paths import check_source

SAME_ATOMS: Final = ("rattle", "strain")
"""Generators that neither add nor remove nor repeat atoms."""


@dataclass(frozen=True)
class SystemStructure:
    """One structure of a system, before the config's charge, spin and moments are set.

    Attributes:
        name: of the system, with the index of the frame or of the ordered cell if there are several.
        source: file and frame, for messages.
        cell: as read from the file, or ordered by its occupancies.
        whole: the cell is the supercell already.
    """

    name: str
    source: str
    cell: Atoms
    whole: bool = False


@dataclass(frozen=True)
class LoadedStructure:
    """A starting structure before variants: ``charge`` and, if given, ``spin`` in ``atoms.info``, and moments."""

    name: str
    atoms: Atoms


def read_system(system: SystemSettings) -> list[SystemStructure]:
    """Read the selected structures of a system's file.

    Raises:
        InputError: the file or selection cannot be used; the message begins with the config's key.
    """
    if system.ordered is not None:
        return _ordered(system, system.ordered)
    chosen = _chosen(system)
    several = len(chosen.frames) > 1
    try:
        cells = [resolved(plain_atoms(atoms)) for atoms in chosen.frames]
    except InputError as error:
        raise InputError(f"file: {error}") from error
    return [
        SystemStructure(
            f"{system.name}-frame-{number}" if several else system.name,
            system.file.name + (f", frame {number}" if chosen.count > 1 else ""),
            cell,
        )
        for number, cell in zip(chosen.numbers, cells, strict=True)
    ]


def load_structures(system: SystemSettings) -> list[LoadedStructure]:
    """Read and repeat the structures of a system, with charge, spin and moments of file or config.

    Raises:
        InputError: the file cannot be used, moments do not fit, or file and config contradict each other. The message
            begins with the config's key.
    """
    loaded = []
    for structure in read_system(system):
        cell = as_configured(system, structure)
        try:
            whole = cell if structure.whole else repeated(cell, system.supercell)
        except InputError as error:
            raise InputError(f"supercell: {error}") from error
        loaded.append(LoadedStructure(structure.name, whole))
    return loaded


def all_structures(systems: Sequence[SystemSettings]) -> list[LoadedStructure]:
    """The structures of several systems by ``load_structures``."""
    return [structure for system in systems for structure in load_structures(system)]


def structure_count(system: SystemSettings) -> int:
    """Return the number of structures of a system; the file is read only for a slice of frames.

    Raises:
        InputError: as ``read_system``.
    """
    if system.ordered is not None:
        return system.ordered
    return len(_chosen(system).numbers) if isinstance(system.frames, str) else 1


def held_out_labels(held: HoldOutSettings) -> int:
    """Return how many labels of a campaign are held out.

    Raises:
        InputError: as ``read_system``.
    """
    apart = sum(map(structure_count, held.never_trained))
    return held.test_frames + held.calibration_frames + held.never_trained_frames * apart


def as_configured(system: SystemSettings, structure: SystemStructure) -> Atoms:
    """Return a structure's cell with charge, spin multiplicity and moments from the config, else from its file.

    A structure without a charge in either is neutral; a multiplicity that is in neither stays unset.

    Raises:
        InputError: see ``contradictions``, or the moments do not fit.
    """
    problems = list(contradictions(system, structure))
    if problems:
        raise InputError("; ".join(problems))
    atoms = structure.cell.copy()
    try:
        set_moments(atoms, system.initial_magnetic_moments)
    except InputError as error:
        raise InputError(f"initial_magnetic_moments: {error}") from error
    if system.charge is not None:
        atoms.info["charge"] = system.charge
    atoms.info.setdefault("charge", 0)
    if system.spin_multiplicity is not None:
        atoms.info["spin"] = system.spin_multiplicity
    return atoms


def contradictions(system: SystemSettings, structure: SystemStructure) -> Iterator[str]:
    """Yield contradictions of file and config, and values of the file that do not apply to the explored atoms."""
    info, source = structure.cell.info, structure.source
    repeats = math.prod(system.supercell)
    for key, name, configured, neutral in (
        ("charge", "charge", system.charge, 0),
        ("spin", "spin_multiplicity", system.spin_multiplicity, 1),
    ):
        stated = info.get(key)
        if stated is None:
            continue
        if configured is None and stated != neutral and (repeats > 1 or _adds_atoms(system)):
            what = f"supercell {list(system.supercell)}" if repeats > 1 else "variants"
            yield (
                f"{name}: {source} states {key} {stated:{'+d' if key == 'charge' else 'd'}} of its own atoms, and the "
                f"{what} of the system hold others; set {name} of the explored structure in the config"
            )
        elif configured is not None and configured != stated and not _of_a_supercell(key, configured, stated, repeats):
            yield (
                f"{name}: received {configured}, but {source} states {key}={stated}; correct one of them, or remove "
                "the key"
            )
    yield from _moment_contradictions(system, structure)


def structure_notes(system: SystemSettings) -> list[str]:
    """Return notes on files of the system and its generators of which one of several frames is used by default.

    Raises:
        InputError: as ``read_system``.
    """
    notes = []
    if system.frames is None and system.ordered is None and (note := _chosen(system).note):
        notes.append(f"{note}; choose with frames: (an index or a slice) in the system {system.name}")
    for variant in system.variants:
        for generator in variant:
            if isinstance(generator, AdsorbateSettings | InterfaceSettings) and generator.file is not None:
                note = choose_frames(generator.file).note
                notes += [f"{note}; write the intended frame to its own file"] if note else []
    return list(dict.fromkeys(notes))


def built_variant(system: SystemSettings, atoms: Atoms, variant: int, rng: np.random.Generator) -> Atoms:
    """Apply one of a system's variants to one of its structures from ``load_structures``.

    Raises:
        InputError: a generator does not fit.
    """
    generators = system.variants[variant]
    built = apply_variant(generators, atoms, rng)
    moments = system.initial_magnetic_moments
    if generators and isinstance(moments, Mapping):  # for added or exchanged atoms
        built.set_initial_magnetic_moments(np.array([moments.get(symbol, 0.0) for symbol in built.symbols]))
    return built


def system_symbols(system: SystemSettings) -> set[str]:
    """Chemical symbols of all starting structures and their variants.

    Raises:
        InputError: a structure cannot be read, or a generator does not fit.
    """
    rng = np.random.default_rng(0)
    return {
        symbol
        for structure in load_structures(system)
        for variant in range(len(system.variants))
        for symbol in built_variant(system, structure.atoms, variant, rng).symbols
    }


def _chosen(system: SystemSettings) -> ChosenFrames:
    try:
        return choose_frames(system.file, system.frames)
    except InputError as error:
        key = "frames" if _is_about_frames(str(error), system.frames) else "file"
        raise InputError(f"{key}: {error}") from error


def _is_about_frames(message: str, frames: Frames | None) -> bool:
    return frames is not None and message.startswith(f"received {frames!r}")


def _ordered(system: SystemSettings, number: int) -> list[SystemStructure]:
    if system.frames is not None:
        raise InputError("frames: received a selection, but ordered uses the one structure of a CIF; remove it")
    check_source(f"file: structure file {system.file}", system.file, "paths in a config are relative to it")
    if any(repeat < 1 for repeat in system.supercell):
        raise InputError(f"supercell: received {list(system.supercell)}, expected three whole numbers of 1 or more")
    if system.initial_magnetic_moments is not None and not isinstance(system.initial_magnetic_moments, Mapping):
        raise InputError(
            "initial_magnetic_moments: received one for each atom, but ordered determines the atoms; give "
            "them by element, for example {Fe: 2.2}"
        )
    try:
        check_size(1, *system.supercell)
    except InputError as error:
        raise InputError(f"supercell: {error}") from error
    cells = ordered_cells(system.file, system.supercell, number)
    return [
        SystemStructure(
            f"{system.name}-ordered-{index}" if number > 1 else system.name,
            f"{system.file.name}, ordered cell {index}",
            atoms,
            whole=True,
        )
        for index, atoms in enumerate(cells, start=1)
    ]


def _adds_atoms(system: SystemSettings) -> bool:
    return any(generator.kind not in SAME_ATOMS for variant in system.variants for generator in variant)


def _of_a_supercell(key: str, configured: int, stated: int, repeats: int) -> bool:
    """Whether the config's value may be that of the supercell of the file's cell; its spins may couple in any way."""
    return repeats > 1 and (key == "spin" or configured == stated * repeats)


def _moment_contradictions(system: SystemSettings, structure: SystemStructure) -> Iterator[str]:
    cell, moments = structure.cell, system.initial_magnetic_moments
    if moments is None or not cell.has("initial_magmoms"):
        return
    configured = cell.copy()
    try:
        set_moments(configured, moments)
    except InputError:
        return  # raised where they are set
    given, stated = configured.get_initial_magnetic_moments(), cell.get_initial_magnetic_moments()
    if not stated.any() or (given.shape == stated.shape and np.allclose(given, stated, atol=1e-6)):
        return
    index = 0
    if given.shape == stated.shape:
        index = int(np.abs(given - stated).argmax())
    yield (
        f"initial_magnetic_moments: received {given[index]:g} µB for atom {index} ({cell.symbols[index]}), but "
        f"{structure.source} states {stated[index]}; correct one of them, or remove the key"
    )
