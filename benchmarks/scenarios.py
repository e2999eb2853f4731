"""Runs with known physics: healthy ones, which must give no alarm, and failures with the step of their onset.

Potentials are real ones: EMT for metals, SevenNet-0 for the melt and the liquid, GFN2-xTB for molecules. A failure is
made by what goes wrong in practice: a bad start, a barostat or thermostat gone mad, a hole in the potential.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from ase import Atoms, units
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.mixing import SumCalculator
from ase.cluster import Icosahedron
from ase.data import covalent_radii
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.neighborlist import neighbor_list
from ase.optimize import BFGS

Array = np.ndarray


def _nothing(_step: int) -> None:
    """Leave the run unchanged."""


@dataclass
class Run:
    """A trajectory for the physics check.

    Attributes:
        atoms: with calculator and velocities; moved by ``dynamics``.
        dynamics: advances ``atoms`` by one step.
        start: reference structure of the physics check.
        temperature_K: temperature that the check receives, of the thermostat or the velocities.
        ensemble: name of the ensemble that the check receives.
        timestep_fs: time step of the dynamics.
        steps: number of steps.
        before: called with the number of each step before it is made.
        broken: whether the failure has occurred, called after each step; from the start if not given.
        settings: settings of the physics check that differ from the defaults.
    """

    atoms: Atoms
    dynamics: MolecularDynamics
    start: Atoms
    temperature_K: float
    ensemble: str
    timestep_fs: float
    steps: int
    before: Callable[[int], None] = _nothing
    broken: Callable[[], bool] | None = None
    settings: dict[str, float] = field(default_factory=dict)
    thermostat_K: list[float] = field(default_factory=list)
    failing: bool = False


def run(
    atoms: Atoms,
    temperature_K: float,
    timestep_fs: float,
    *,
    ensemble: str = "langevin",
    ps: float = 1.0,
    seed: int = 0,
    friction_per_ps: float = 5.0,
    reported_K: float | None = None,
    start: Atoms | None = None,
) -> Run:
    """Return a run of ``atoms`` (with calculator) in an ensemble; velocities are drawn if missing."""
    start = atoms.copy() if start is None else start
    rng = np.random.default_rng(seed)
    if not atoms.has("momenta"):
        thermalize_momenta(atoms, temperature_K=temperature_K, rng=rng)
        Stationary(atoms, preserve_temperature=True)
    dt = timestep_fs * units.fs
    dynamics: MolecularDynamics
    if ensemble == "nve":
        dynamics = VelocityVerlet(atoms, dt)
    elif ensemble == "npt":
        dynamics = IsotropicMTKNPT(
            atoms, dt, temperature_K=temperature_K, pressure_au=0.0, tdamp=100 * units.fs, pdamp=1000 * units.fs
        )
    else:
        friction = friction_per_ps / (1e3 * units.fs)
        dynamics = Langevin(atoms, dt, temperature_K=temperature_K, friction=friction, rng=rng, fixcm=False)
    reported = temperature_K if reported_K is None else reported_K
    return Run(atoms, dynamics, start, reported, ensemble, timestep_fs, round(1e3 * ps / timestep_fs))


# Potentials


@cache
def sevennet() -> Calculator:
    """SevenNet-0, opened once."""
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator("7net-0", device="cpu")


def xtb(charge: int = 0) -> Calculator:
    """GFN2-xTB."""
    from tblite.ase import TBLite

    return TBLite(method="GFN2-xTB", charge=charge, verbosity=0)


class Hole(Calculator):
    """A pair potential that cancels the repulsion of another: -depth exp(-r / width)."""

    implemented_properties = ("energy", "forces")

    def __init__(self, depth_eV: float, width_A: float = 0.5) -> None:
        super().__init__()
        self._depth, self._width = depth_eV, width_A

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        cutoffs = 1.8 * covalent_radii[atoms.numbers]
        i, _, d, vectors = neighbor_list("ijdD", atoms, cutoffs)
        energy = -self._depth * np.exp(-d / self._width)
        pull = (-energy / self._width / d)[:, None] * vectors
        forces = np.zeros_like(atoms.positions)
        np.add.at(forces, i, pull)
        self.results = {"energy": energy.sum() / 2, "forces": forces}


class Changed(Calculator):
    """A potential whose forces are changed from a given call on."""

    implemented_properties = ("energy", "forces")

    def __init__(self, base: Calculator, change: Callable[[Array], Array], after: int = 0) -> None:
        super().__init__()
        self._base, self._change, self._after, self._calls = base, change, after, 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        forces = self._base.get_forces(atoms)
        self._calls += 1
        changed = self._change(forces) if self._calls > self._after else forces
        self.results = {"energy": self._base.get_potential_energy(atoms), "forces": changed}


# Matter


def with_calculator(atoms: Atoms, calculator: Calculator) -> Atoms:
    """The same atoms, now with a potential."""
    atoms.calc = calculator
    return atoms


def copper(repeats: int = 2, lattice_A: float = 3.63) -> Atoms:
    """A crystal with EMT."""
    return with_calculator(bulk("Cu", a=lattice_A, cubic=True) * repeats, EMT())


def slab() -> Atoms:
    """Cu(111) with EMT."""
    return with_calculator(fcc111("Cu", (3, 3, 4), a=3.63, vacuum=8.0, periodic=False), EMT())


def salt(lattice_A: float = 5.9, repeats: int = 1) -> Atoms:
    """Rock salt, 8 atoms to the cell, with SevenNet-0."""
    return with_calculator(bulk("NaCl", "rocksalt", lattice_A, cubic=True) * repeats, sevennet())


def spread(names: list[str], spacing_A: float, *, seed: int = 0, periodic: bool) -> Atoms:
    """Molecules on a cubic grid, each with a random orientation."""
    rng = np.random.default_rng(seed)
    edge = int(np.ceil(len(names) ** (1 / 3)))
    places = np.array(list(np.ndindex(edge, edge, edge)))[: len(names)]
    together = Atoms(cell=[edge * spacing_A] * 3 if periodic else None, pbc=periodic)
    for name, place in zip(names, places, strict=True):
        one = molecule(name)
        one.set_initial_magnetic_moments(None)
        one.positions -= one.get_center_of_mass()
        one.rotate(rng.uniform(0, 360), rng.normal(size=3))
        one.positions += spacing_A * (place + 0.5)
        together += one
    return together


def clusters(distance_A: float, speed_A_per_fs: float = 0.0) -> Atoms:
    """Two icosahedra of 13 copper atoms with EMT, one moving towards the other."""
    one = Icosahedron("Cu", 2)
    other = one.copy()
    other.positions += [distance_A, 0.3, 0.2]
    both = with_calculator(one + other, EMT())
    both.set_velocities(np.repeat([[speed_A_per_fs, 0, 0], [-speed_A_per_fs, 0, 0]], 13, axis=0) / units.fs)
    return both


def relaxed(atoms: Atoms, steps: int = 200) -> Atoms:
    """The nearest minimum."""
    BFGS(atoms, logfile=None).run(fmax=0.05, steps=steps)
    return atoms


def liquid() -> Atoms:
    """8 molecules of water at the density of the liquid, SevenNet-0."""
    return relaxed(with_calculator(spread(["H2O"] * 8, 3.105, periodic=True), sevennet()), steps=30)


def hydronium() -> Atoms:
    """An excess proton among six molecules of water, GFN2-xTB."""
    water = spread(["H2O"] * 6, 2.9, periodic=False)
    oxygen = water.positions[0]
    water += Atoms("H", [oxygen + (oxygen - water.positions[1:3].mean(axis=0)) * 1.5])
    return relaxed(with_calculator(water, xtb(charge=1)))


def argon(spacing_A: float, *repulsion: Hole) -> Atoms:
    """27 atoms apart from each other."""
    places = spacing_A * np.array(list(np.ndindex(3, 3, 3)), dtype=float)
    potential = LennardJones(epsilon=0.0104, sigma=3.4, rc=8.0, smooth=True)
    return with_calculator(
        Atoms("Ar27", places, cell=[3 * spacing_A] * 3, pbc=True), SumCalculator([potential, *repulsion])
    )


def molecular_gas() -> Atoms:
    """Eight small molecules in free space, GFN2-xTB."""
    names = ["H2", "N2", "CH4", "H2O", "H2", "N2", "CH4", "CO2"]
    return with_calculator(spread(names, 4.5, periodic=False), xtb())
