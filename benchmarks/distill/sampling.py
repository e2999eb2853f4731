"""Labelled frames from rattling and short MD, one independent job for each series."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.optimize import BFGS

from benchmarks.distill.jobs import run_jobs
from benchmarks.distill.labels import (
    CRYSTAL,
    MELT,
    MOLECULE,
    SURFACE,
    Example,
    crystal_teacher,
    molecule_teacher,
    read_example,
)
from benchmarks.distill.settings import DistillSettings
from benchmarks.distill.structures import CRYSTALS, MOLECULES, nearest_A, rattle

Job = Callable[[], list[Example]]

_LOG = logging.getLogger(__name__)
_ROOM_K, _WARM_K = 300.0, 1000.0
_FRICTION_PER_FS = 0.03
_MELT_RATTLE = 0.12  # of the nearest neighbours' distance, each component: twice what Lindemann's rule requires
_FAILURES = (CalculationFailed, RuntimeError, FloatingPointError)


@dataclass(frozen=True)
class Samples:
    """Labelled frames on both sides of a split by series.

    Attributes:
        train: to learn from.
        held_out: from trajectories and series of their own.
    """

    train: list[Example]
    held_out: list[Example]


def sample(settings: DistillSettings, seed: int, workers: int) -> Samples:
    """Sample and label; the same seed gives the same frames for any number of workers.

    Args:
        settings: how much of what.
        seed: of all random numbers.
        workers: processes; 1 works in this one.
    """
    sides = (_jobs(settings, seed, held_out=False), _jobs(settings, seed, held_out=True))
    jobs = [*sides[0], *sides[1]]
    done = list(_logged(run_jobs(jobs, workers), len(jobs)))
    cut = len(sides[0])
    return Samples(list(chain(*done[:cut])), list(chain(*done[cut:])))


def _jobs(settings: DistillSettings, seed: int, *, held_out: bool) -> list[Job]:
    """Name every series and give it a seed of its own."""
    part = 2 if held_out else 1
    jobs: list[Job] = []

    def add(function: Callable[..., list[Example]], *arguments: object) -> None:
        jobs.append(partial(function, *arguments, (seed, int(held_out), len(jobs))))

    rattled = max(1, settings.rattled_frames // (5 if held_out else 1))
    length = (settings.crystal_steps // part, settings.crystal_interval)
    for name in settings.crystals:
        add(_rattled, name, False, rattled)
        for temperature in _temperatures(name):
            add(_crystal_md, name, False, temperature, length)
    for name in settings.slabs:
        add(_rattled, name, True, rattled)
        for temperature in _temperatures(name)[:2]:
            add(_crystal_md, name, True, temperature, length)
    length = (settings.molecule_steps // part, settings.molecule_interval)
    for name in settings.molecules:
        for temperature in (_ROOM_K, _WARM_K):
            add(_molecule_md, name, temperature, length)
    return jobs


def _temperatures(name: str) -> tuple[float, ...]:
    hot = CRYSTALS[name].hot_K
    hotter = (1.2 * hot,) if CRYSTALS[name].melts else ()
    return _ROOM_K, max(1.5 * _ROOM_K, hot / 2), hot, *hotter


def _logged(results: Iterable[list[Example]], total: int) -> Iterable[list[Example]]:
    for number, result in enumerate(results, 1):
        if number % 20 == 0 or number == total:
            _LOG.info("labelled %d of %d series", number, total)
        yield result


def _rattled(name: str, slab: bool, frames: int, seed: tuple[int, ...]) -> list[Example]:
    """Rattled and strained crystals or slabs, also denser and thinner ones."""
    rng = np.random.default_rng(seed)
    crystal = CRYSTALS[name]
    start = crystal.slab() if slab else crystal.build()
    nearest = nearest_A(start)
    kind = SURFACE if slab else CRYSTAL
    examples = []
    for _ in range(frames):
        scaled = start.copy()
        scaled.set_cell(scaled.cell.array * (1.0 if slab else rng.uniform(0.97, 1.04)), scale_atoms=True)
        atoms = rattle(scaled, rng.uniform(0.01, 0.07) * nearest, 0.0 if slab else 0.02, rng)
        atoms.calc = crystal_teacher()
        examples.append(read_example(kind, f"{name}-rattled-{kind}-{seed}", atoms))
    return examples


def _crystal_md(
    name: str, slab: bool, temperature_K: float, length: tuple[int, int], seed: tuple[int, ...]
) -> list[Example]:
    """A trajectory of a crystal, its melt or its slab; a melt starts from strongly displaced sites."""
    rng = np.random.default_rng(seed)
    crystal = CRYSTALS[name]
    melt = crystal.melts and temperature_K > crystal.melting_K
    kind = SURFACE if slab else MELT if melt else CRYSTAL
    atoms = crystal.slab() if slab else crystal.build()
    scale_A = _MELT_RATTLE * nearest_A(atoms) if melt else 0.1 * (temperature_K / _WARM_K) ** 0.5
    atoms = rattle(atoms, scale_A, 0.0 if slab else 0.015, rng)
    atoms.calc = crystal_teacher()
    return _langevin(kind, f"{name}-{kind}-{temperature_K:g}K-{seed}", atoms, temperature_K, length, rng)


def _molecule_md(name: str, temperature_K: float, length: tuple[int, int], seed: tuple[int, ...]) -> list[Example]:
    rng = np.random.default_rng(seed)
    atoms = MOLECULES[name].build()
    atoms.calc = molecule_teacher(MOLECULES[name])
    group = f"{name}-{temperature_K:g}K-{seed}"
    try:
        BFGS(atoms, logfile=None).run(fmax=0.1, steps=50)
    except _FAILURES as error:
        _LOG.warning("%s does not relax (%s); left out", group, error)
        return []
    atoms.positions += rng.normal(scale=0.03, size=atoms.positions.shape)
    return _langevin(MOLECULE, group, atoms, temperature_K, length, rng)


def _langevin(
    kind: str,
    group: str,
    atoms: Atoms,
    temperature_K: float,
    length: tuple[int, int],
    rng: np.random.Generator,
) -> list[Example]:
    """Frames of one trajectory, up to the first that its teacher fails on; length is steps, and steps per frame."""
    steps, interval = length
    light = 1 in atoms.numbers
    thermalize_momenta(atoms, temperature_K=temperature_K, rng=rng)
    dynamics = Langevin(
        atoms,
        timestep=(1.0 if light else 2.0) * units.fs,
        temperature_K=temperature_K,
        friction=_FRICTION_PER_FS / units.fs,
        fixcm=False,
        rng=rng,
    )
    examples: list[Example] = []
    try:
        for _ in range(max(1, steps // interval)):
            dynamics.run(interval)
            examples.append(read_example(kind, group, atoms))
    except _FAILURES as error:
        _LOG.warning("%s ends after %d frames (%s)", group, len(examples), error)
    return examples
