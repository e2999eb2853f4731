"""Checks of explored structures and settings before anything is computed; every variant is built once."""

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from al_loop.config import Config, SystemSettings
from al_loop.config.system_settings import Ensemble
from al_loop.errors import InputError
from al_loop.frames.constraints.building import refuse_anchored
from al_loop.frames.constraints.policy import Motion, motion_of, refusal
from al_loop.structures.systems import LoadedStructure, built_variant
from dft_interfaces.bounds import density_excess, initial_moment_excess, length_excess
from dft_interfaces.geometry.vacuum import gaps_A, vacuum_axes
from dft_interfaces.structure import multiplicity_exists

SLOWEST_STEPS = 10  # a barostat must take so many time steps at least
_KEEPS_THE_CELL = {"npt": "langevin or bussi", "relax": "relax without relax_cell"}


def exploration_problems(config: Config) -> Iterator[str]:
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


def built_structures(
    dotted: str, system: SystemSettings, structure: LoadedStructure
) -> tuple[list[tuple[str, Atoms]], list[str]]:
    """What trajectories of one of a system's structures start from, with dotted paths, and what could not be built.

    Args:
        dotted: path of the system.
        system: with absolute paths.
        structure: one of its structures, which itself has been checked.
    """
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


def _words(ensembles: set[Ensemble]) -> str:
    return " or ".join(sorted(ensembles))
