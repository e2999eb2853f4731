"""ORCA's output, geometry by geometry."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from ase.io.orca import _read_atoms, read_energy, read_forces

from al_loop.files.outputs.step import UNCONVERGED, IonicStep, OutputError
from al_loop.files.text.open_text import open_text

_BEGINS: Final = (
    "GEOMETRY OPTIMIZATION CYCLE",
    "ORCA GEOMETRY RELAXATION STEP",
    "FINAL ENERGY EVALUATION AT THE STATIONARY",
    "ORCA TERMINATED NORMALLY",
)
"""Lines behind which nothing belongs to the geometry in front of them."""
_SCF: Final = re.compile(r"SCF (NOT )?CONVERGED AFTER")
_UNCONVERGED: Final = ("Wavefunction not fully converged", "This wavefunction IS NOT CONVERGED")
_CHARGE: Final = re.compile(r"Total Charge\s+Charge\s+\.+\s+(-?\d+)")
_MULTIPLICITY: Final = re.compile(r"Multiplicity\s+Mult\s+\.+\s+(\d+)")


def steps(path: Path) -> Iterator[IonicStep]:
    """Yield every geometry whose energy was calculated, with the charge and the multiplicity that ORCA states.

    Raises:
        OutputError: several gradients of one geometry, of which none is known to belong to the energy.
    """
    charge = multiplicity = None
    number = 0
    with open_text(path) as file:
        for lines in _geometries(file):
            text = "".join(lines)
            charge = _last(_CHARGE, text, charge)
            multiplicity = _last(_MULTIPLICITY, text, multiplicity)
            if "CARTESIAN COORDINATES (ANGSTROEM)" not in text or not _SCF.search(text):
                continue
            number += 1
            atoms = _read_atoms(lines)
            atoms.info.update({} if charge is None else {"charge": charge})
            atoms.info.update({} if multiplicity is None else {"spin": multiplicity})
            if text.count("CARTESIAN GRADIENT") > 1:
                raise OutputError(
                    f"geometry {number} has several gradients (of excited states or of a correlated method)"
                )
            if not _converged(text):
                yield IonicStep(number, atoms, left_out=UNCONVERGED)
            else:
                yield IonicStep(number, atoms, read_energy(lines), read_forces(lines))


def _geometries(file: Iterable[str]) -> Iterator[list[str]]:
    """The lines of each geometry, and of what stands between two of them."""
    lines: list[str] = []
    for line in file:
        if any(word in line for word in _BEGINS):
            yield lines
            lines = []
        lines.append(line)
    yield lines


def _converged(text: str) -> bool:
    said = _SCF.findall(text)
    return not said[-1] and not any(word in text for word in _UNCONVERGED) and "FINAL SINGLE POINT ENERGY" in text


def _last(pattern: re.Pattern[str], text: str, default: int | None) -> int | None:
    found = pattern.findall(text)
    return int(found[-1]) if found else default
