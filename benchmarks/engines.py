"""The same structures with every engine: content and cost of a label, and differences of the forces.

    python benchmarks/engines.py [--quick] [--structure Si] [--engine gpaw]

Four rattled structures (8-atom Si and NaCl, 4-atom Al, a water molecule in a box of 8 Å), PBE where the engine has a
functional, cutoffs and basis sets at which forces no longer move, one k-point mesh per structure for all engines, one
core. ``--quick`` takes Al and water at lower settings: its differences only show that the engines run.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from figures import at_most, report
from pydantic import TypeAdapter

from dft_interfaces.engine import DFTEngine
from dft_interfaces.engines import build_engine
from dft_interfaces.label import Label, LabelStatus
from dft_interfaces.settings import EngineSettings

FORCE_TOLERANCE_EV_PER_A = 0.05
PERIODIC_ONLY = {"gpaw", "espresso"}

Settings = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A structure, the settings that make it comparable, and the engine the others are compared with.

    Attributes:
        atoms: rattled.
        reference: name of an engine.
        engines: settings of each engine by name.
        explained: why an engine differs by more than the tolerance, where it is known to.
    """

    atoms: Atoms
    reference: str
    engines: dict[str, Settings]
    explained: dict[str, str]


LEARNED = "a foundation model, not PBE of this code: its error is what the loop is there to remove"
SEMIEMPIRICAL = "a semi-empirical Hamiltonian"
SETUPS = "frozen cores of GPAW's setups: the stiff O-H bond is 0.0024 Å longer than with all electrons"
ONCV = "frozen cores of PseudoDojo's files: the stiff O-H bond is 0.0036 Å shorter than with all electrons"


def crystal(name: str, lattice: str, a: float, rattle_A: float) -> Atoms:
    atoms = bulk(name, lattice, a=a, cubic=True)
    atoms.rattle(rattle_A, rng=np.random.default_rng(0))
    return atoms


def water() -> Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.05, rng=np.random.default_rng(0))
    return atoms


def boxed(atoms: Atoms) -> Atoms:
    """Return the molecule in a periodic cell, for the engine that supports periodic cells only."""
    box = atoms.copy()
    box.set_cell(np.full(3, 8.0))
    box.center()
    box.pbc = True
    return box


def plane_waves(gpaw_eV: float, espresso_eV: float, kpoint_density_A: float, smearing_eV: float) -> dict[str, Settings]:
    shared = {"kpoint_density_A": kpoint_density_A, "smearing_eV": smearing_eV}
    return {
        "gpaw": {"engine": "gpaw", "xc": "PBE", "cutoff_eV": gpaw_eV, **shared},
        "espresso": {"engine": "espresso", "cutoff_eV": espresso_eV, **shared},
    }


TEACHER = {
    "engine": "ase",
    "calculator": "sevenn.calculator.SevenNetCalculator",
    "arguments": {"model": "7net-l3i5", "device": "cpu"},
}


def cases(quick: bool) -> dict[str, Case]:
    periodic = {"7net-l3i5": LEARNED}
    aluminium = plane_waves(300, 700, 8, 0.2) if quick else plane_waves(500, 1100, 16, 0.2)
    molecules = {
        "pyscf": {"engine": "pyscf", "xc": "pbe", "basis": "def2-svp" if quick else "def2-qzvpd", "grid_level": 4},
        "tblite": {"engine": "tblite"},
    }
    if not quick:
        molecules |= plane_waves(900, 1500, 5, 0.05)
    found = {
        "Al": Case(crystal("Al", "fcc", 4.05, 0.1), "gpaw", aluminium | {"7net-l3i5": TEACHER}, periodic),
        "water": Case(
            water(),
            "pyscf",
            molecules | {"7net-l3i5": TEACHER},
            {"7net-l3i5": LEARNED, "tblite": SEMIEMPIRICAL, "gpaw": SETUPS, "espresso": ONCV},
        ),
    }
    if quick:
        return found
    return {
        "Si": Case(
            crystal("Si", "diamond", 5.43, 0.1),
            "gpaw",
            plane_waves(500, 700, 10, 0.1) | {"7net-l3i5": TEACHER},
            periodic,
        ),
        "NaCl": Case(
            crystal("NaCl", "rocksalt", 5.64, 0.1),
            "gpaw",
            plane_waves(600, 1300, 10, 0.1) | {"7net-l3i5": TEACHER},
            periodic,
        ),
        **found,
    }


def labels(case: Case, only: list[str]) -> Iterator[tuple[str, DFTEngine, Label]]:
    for name, settings in case.engines.items():
        if only and name not in only and name != case.reference:
            continue
        engine = build_engine(TypeAdapter(EngineSettings).validate_python(settings))
        in_a_box = settings["engine"] in PERIODIC_ONLY and not case.atoms.pbc.any()
        yield name, engine, engine.label(boxed(case.atoms) if in_a_box else case.atoms)


def held(label: Label) -> str:
    parts = {"energy": label.energy_eV, "forces": label.forces_eV_per_A, "stress": label.stress_eV_per_A3}
    return ", ".join(key for key, value in parts.items() if value is not None) or "nothing"


def compare(name: str, case: Case, only: list[str]) -> None:
    found = {engine: (built, label) for engine, built, label in labels(case, only)}
    reference = found[case.reference][1]
    for engine, (built, label) in found.items():
        title = f"{name} {engine}"
        if label.status is not LabelStatus.CONVERGED or reference.forces_eV_per_A is None:
            print(f"{title}: {label.status}: {label.message.splitlines()[-1:]}")
            report(f"{title} converged", 0, ">= 1", holds=False)
            continue
        assert label.forces_eV_per_A is not None
        print(f"{title}: {held(label)}; {label.cost_s:.1f} s; {built.level_of_theory.summary}")
        report(f"{title} seconds", label.cost_s, "stated", holds=True)
        if engine == case.reference:
            continue
        largest = float(np.abs(label.forces_eV_per_A - reference.forces_eV_per_A).max())
        title = f"{title} largest force difference to {case.reference}, eV/Å"
        if engine in case.explained:
            report(f"{title} ({case.explained[engine]})", largest, "stated", holds=True)
        else:
            at_most(title, largest, FORCE_TOLERANCE_EV_PER_A)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Al and water at lower settings, under a minute")
    parser.add_argument("--structure", action="append", default=[], help="one of Si, NaCl, Al, water; may be repeated")
    parser.add_argument("--engine", action="append", default=[], help="may be repeated; the reference always runs")
    arguments = parser.parse_args()
    for name, case in cases(arguments.quick).items():
        if not arguments.structure or name in arguments.structure:
            compare(name, case, arguments.engine)


if __name__ == "__main__":
    main()
