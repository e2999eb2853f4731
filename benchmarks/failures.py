"""Failures of exploration, each with the step of its onset."""

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.mixing import SumCalculator
from scenarios import (
    Changed,
    Hole,
    Run,
    argon,
    clusters,
    copper,
    liquid,
    molecular_gas,
    run,
    salt,
    slab,
    with_calculator,
    xtb,
)

from al_loop.gate.bonding import BOND_FACTOR, Bonding


def displaced(made: Run, change: Callable[[Atoms], None]) -> Run:
    """Change the atoms, but not the reference structure of the check."""
    change(made.atoms)
    return made


def overlapping(atoms: Atoms, temperature_K: float, timestep_fs: float, fraction: float) -> Run:
    """Place the last atom at a fraction of its distance from the first."""
    atoms.positions[-1] = atoms.positions[0] + fraction * atoms.get_distance(0, -1, mic=True, vector=True)
    return run(atoms, temperature_K, timestep_fs)


def scaled(made: Run, factor: float) -> Run:
    """The cell (positions of a cluster) is scaled at once."""

    def change(atoms: Atoms) -> None:
        if atoms.pbc.any():
            atoms.set_cell(atoms.cell * factor, scale_atoms=True)
        else:
            atoms.positions *= factor

    return displaced(made, change)


def creeping(made: Run, factor: float) -> Run:
    """A faulty barostat: the cell is scaled a little at every step."""
    made.before = lambda _step: made.atoms.set_cell(made.atoms.cell * factor, scale_atoms=True)
    return made


def torn(atoms: Atoms, leaving: list[int], timestep_fs: float = 0.5, temperature_K: float = 300) -> Run:
    """Some atoms of a molecule are pulled away from the rest, slowly enough for the thermostat."""
    made = run(atoms, temperature_K, timestep_fs)
    start = atoms.positions[leaving].mean(axis=0) - np.delete(atoms.positions, leaving, axis=0)[:6].mean(axis=0)

    def before(_step: int) -> None:
        atoms.positions[leaving] += 0.08 * start / np.linalg.norm(start)
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(temperature_K / atoms.get_temperature()))

    made.before = before
    return made


def merging() -> Run:
    """Two clusters that fly into each other; broken from the first bond between them."""
    made = run(clusters(9.0, 0.002), 300, 4.0, ensemble="nve")

    def touched() -> bool:
        bonding = Bonding.of(made.atoms)
        return bool(((bonding.ratio < BOND_FACTOR) & (bonding.first < 13) & (bonding.second >= 13)).any())

    made.broken = touched
    return made


def undefined(atoms: Atoms, after: int) -> Run:
    """NaN forces from a given call on."""
    atoms.calc = Changed(atoms.calc, lambda forces: np.full_like(forces, np.nan), after)
    made = run(atoms, 300, 1.0)
    made.broken = lambda: bool(np.isnan(atoms.calc.results.get("forces", 0.0)).any())
    return made


def leaking() -> Run:
    """Forces that are no gradient: without thermostat the energy is not conserved."""
    atoms = copper(2, 3.63)
    atoms.calc = Changed(EMT(), lambda forces: forces + 0.3 * np.roll(forces, 1, axis=1))
    return run(atoms, 600, 4.0, ensemble="nve")


def sunk(atoms: Atoms, depth_eV: float, temperature_K: float, timestep_fs: float) -> Run:
    """A potential without repulsion."""
    atoms.calc = SumCalculator([atoms.calc, Hole(depth_eV)])
    return run(atoms, temperature_K, timestep_fs)


FAILURES: dict[str, Callable[[], Run]] = {
    "overlapping start: metal": lambda: overlapping(copper(), 300, 2.0, 0.3),
    "overlapping start: molecules": lambda: overlapping(molecular_gas(), 300, 0.5, 0.05),
    "overlapping start: salt": lambda: overlapping(salt(), 300, 2.0, 0.3),
    **{
        f"{what} scaled by {factor}": lambda make=make, factor=factor: scaled(make(), factor)
        for what, make in {
            "metal": lambda: run(copper(), 300, 2.0),
            "salt": lambda: run(salt(), 600, 2.0),
            "liquid": lambda: run(liquid(), 330, 0.5),
            "slab": lambda: run(slab(), 300, 2.0),
            "cluster": lambda: run(clusters(20.0), 300, 2.0),
        }.items()
        for factor in (0.6, 1.8)
    },
    "metal that starts at 0.6": lambda: run(copper(2, 0.6 * 3.61), 300, 2.0),
    "salt that starts at 0.6": lambda: run(salt(0.6 * 5.7), 600, 2.0),
    "cell that shrinks by 2 % a step": lambda: creeping(run(copper(), 300, 2.0), 0.98),
    "cell that grows by 2 % a step": lambda: creeping(run(copper(), 300, 2.0), 1.02),
    "metal without repulsion": lambda: sunk(copper(), 400.0, 600, 4.0),
    "salt without repulsion": lambda: sunk(salt(6.2), 400.0, 1500, 4.0),
    "molecule without repulsion": lambda: sunk(with_calculator(molecule("CH3CH2OH"), xtb()), 60.0, 300, 0.5),
    "gas without repulsion": lambda: run(argon(4.0, Hole(4000.0)), 300, 5.0),
    "liquid without repulsion": lambda: sunk(liquid(), 60.0, 330, 0.5),
    "metal, thermostat at 20000 K": lambda: run(copper(), 20000, 2.0, reported_K=20000),
    "metal, thermostat at 20000 K instead of 300 K": lambda: displaced(
        run(copper(), 20000, 2.0, reported_K=300), lambda atoms: atoms.set_momenta(0 * atoms.positions)
    ),
    "molecule, thermostat at 20000 K instead of 300 K": lambda: displaced(
        run(with_calculator(molecule("CH3CH2OH"), xtb()), 20000, 0.5, reported_K=300),
        lambda atoms: atoms.set_momenta(0 * atoms.positions),
    ),
    "torn: C-C of ethanol": lambda: torn(with_calculator(molecule("CH3CH2OH"), xtb()), [1, 2, 6, 7]),
    "torn: O-H of ethanol": lambda: torn(with_calculator(molecule("CH3CH2OH"), xtb()), [3]),
    "torn: hydrogen": lambda: torn(with_calculator(molecule("H2"), xtb()), [1]),
    "torn: methane in a gas": lambda: torn(molecular_gas(), [7, 8]),
    "clusters that merge": merging,
    "NaN forces: metal": lambda: undefined(copper(), 33),
    "NaN forces: molecule": lambda: undefined(with_calculator(molecule("CH3CH2OH"), xtb()), 12),
    "NVE that leaks": leaking,
}
