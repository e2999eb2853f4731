"""The output of Quantum ESPRESSO's pw.x, ionic step by ionic step.

The numbers are read by ASE's parsers of single blocks. Its reader of whole files fails on the bands of an unconverged
cycle, and takes the first energy of a step, which with hybrid functionals is that of the starting functional.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ase import Atoms
from ase.io.espresso import (
    _get_forces,
    _get_stress,
    convert_constraint_flags,
    get_atomic_positions,
    get_cell_parameters,
    label_to_symbol,
    parse_pwo_start,
    units,
)

from al_loop.files.outputs.step import UNCONVERGED, IonicStep
from al_loop.files.text.open_text import open_text
from dft_interfaces.engines.electronic_convergence import pw_converged, pw_thresholds_Ry

_RUN: Final = "Program PWSCF"
_POSITIONS: Final = "ATOMIC_POSITIONS"
_CELL: Final = "CELL_PARAMETERS"
_CELL_LINES: Final = 5
_FORCES: Final = "Forces acting on atoms"
_STRESS: Final = "total   stress"
_ENERGY: Final = re.compile(r"^!!?\s+total energy\s+=\s+(\S+)\s+Ry", re.MULTILINE)
_CALCULATED: Final = ("iteration #  1", _FORCES, "convergence NOT achieved", "convergence has been achieved")


def steps(path: Path) -> Iterator[IonicStep]:
    """Yield every ionic step that a self-consistency cycle was begun for.

    The energy is the last one that stands behind an exclamation mark: with smearing the free energy.
    """
    with open_text(path) as file:
        lines = file.readlines()
    begins = [index for index, line in enumerate(lines) if _RUN in line or _POSITIONS in line]
    start: dict[str, Any] = {}
    cell = None
    threshold_Ry: float | None = None
    number = 0
    for begin, end in zip(begins, [*begins[1:], len(lines)], strict=True):
        text = "".join(lines[begin:end])
        stated = pw_thresholds_Ry(text)
        if _RUN in lines[begin]:
            if not any(word in text for word in _CALCULATED):
                continue  # it ended, or was ended, before the first cycle
            start = parse_pwo_start(lines, begin)
            atoms = start["atoms"]
            cell = atoms.cell
            threshold_Ry = stated[0] if stated else None
        else:
            if _CELL in lines[max(begin - _CELL_LINES, 0)]:
                cell, _ = get_cell_parameters(lines[begin - _CELL_LINES : begin])
            atoms = _moved(lines[begin:], start, cell)
        if any(word in text for word in _CALCULATED):
            number += 1
            yield _step(number, atoms, lines[begin:end], text, threshold_Ry)
        # "new conv_thr" stands behind the cycle: it is that of the next one.
        threshold_Ry = stated[-1] if stated else threshold_Ry


def _moved(lines: list[str], start: dict[str, Any], cell: object) -> Atoms:
    count = len(start["symbols"])
    card = get_atomic_positions(lines[: count + 1], n_atoms=count, cell=cell, alat=start["alat"])
    atoms = Atoms([label_to_symbol(row[0]) for row in card], [row[1] for row in card], cell=cell, pbc=True)
    atoms.set_constraint(convert_constraint_flags([row[2] for row in card]))
    return atoms


def _step(number: int, atoms: Atoms, lines: list[str], text: str, threshold_Ry: float | None) -> IonicStep:
    energies = _ENERGY.findall(text)
    if not (energies and pw_converged(text, threshold_Ry)):
        return IonicStep(number, atoms, left_out=UNCONVERGED)
    forces = next((_get_forces(lines, index, len(atoms)) for index, line in enumerate(lines) if _FORCES in line), None)
    stress = next((_get_stress(lines, index) for index, line in enumerate(lines) if _STRESS in line), None)
    return IonicStep(number, atoms, float(energies[-1]) * units["Ry"], forces, stress)
