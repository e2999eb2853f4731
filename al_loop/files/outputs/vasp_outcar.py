"""VASP's OUTCAR, ionic step by ionic step.

The numbers are read by ASE's parsers of single blocks. Its reader of whole files fails where van der Waals energies
stand beside the others, where k-points are not listed and on steps of a machine-learned force field.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from ase import Atoms
from ase.data import atomic_numbers
from ase.io.vasp_parsers.vasp_outcar_parsers import (
    Cell,
    OutcarChunkParser,
    PositionsAndForces,
    Stress,
    read_constraints_from_file,
)

from al_loop.files.outputs.step import MACHINE_LEARNED, NO_FORCES, UNCONVERGED, IonicStep, OutputError
from al_loop.files.text.open_text import open_text
from al_loop.utils.foreign_input import reason_of
from dft_interfaces.engines.electronic_convergence import vasp_converged

_END: Final = "FREE ENERGIE OF THE ION-ELECTRON SYSTEM"
_LINES_BEHIND_END: Final = 4
_ENERGY: Final = re.compile(r"free\s+energy\s+TOTEN\s*=\s*(\S+)")
_STEP: Final = re.compile(r"Iteration\s+(\d+)\(")
_NELM: Final = re.compile(r"\bNELM\s*=\s*(\d+)")
_ELEMENT: Final = re.compile(r"([A-Z][a-z]?)")
_SPECIES: Final = (
    re.compile(r"VRHFIN\s*=\s*([A-Z][a-z]?)"),
    re.compile(r"TITEL\s*=\s*\S+\s+(\S+)"),
    re.compile(r"POTCAR:\s+\S+\s+(\S+)"),
)


def steps(path: Path) -> Iterator[IonicStep]:
    """Yield every complete ionic step; a run that was killed ends with the last of them.

    Raises:
        OutputError: a beginning that names no elements, or a block of numbers that cannot be read.
    """
    header: dict[str, object] | None = None
    max_steps: int | None = None
    number = 0
    with open_text(path) as file:
        for lines in _blocks(file):
            if header is None:
                text = "".join(lines)
                header, max_steps = _header(path, text), _nelm(text)
            said = [int(found[1]) for line in lines if (found := _STEP.search(line))]
            number = said[-1] if said else number + 1
            yield _step(number, lines, header, max_steps)


def loops(path: Path) -> list[tuple[float, bool]]:
    """Return the free energy (eV) of every step that VASP calculated, and whether its electronic steps converged."""
    found: list[tuple[float, bool]] = []
    max_steps: int | None = None
    with open_text(path) as file:
        for lines in _blocks(file):
            text = "".join(lines)
            max_steps = max_steps or _nelm(text)
            energy = _ENERGY.search("".join(lines[-_LINES_BEHIND_END:]))
            if not _is_machine_learned(lines) and energy:
                found.append((float(energy[1]), bool(vasp_converged(text, max_steps))))
    return found


def _blocks(file: Iterable[str]) -> Iterator[list[str]]:
    """The lines of each ionic step, up to its energies; the first begins with the header."""
    lines: list[str] = []
    remaining = -1
    for line in file:
        lines.append(line)
        if remaining < 0 and _END in line:
            remaining = _LINES_BEHIND_END
        elif remaining > 0:
            remaining -= 1
            if remaining == 0:
                yield lines
                lines, remaining = [], -1


def _is_machine_learned(lines: list[str]) -> bool:
    return "ML FREE ENERGIE" in lines[-_LINES_BEHIND_END - 1]


def _step(number: int, lines: list[str], header: dict[str, object], max_steps: int | None) -> IonicStep:
    if _is_machine_learned(lines):
        return IonicStep(number, Atoms(), left_out=MACHINE_LEARNED)
    text = "".join(lines)
    if not vasp_converged(text, max_steps):
        return IonicStep(number, Atoms(), left_out=UNCONVERGED)
    if not any(PositionsAndForces.LINE_DELIMITER in line for line in lines):
        return IonicStep(number, Atoms(), left_out=NO_FORCES)
    energy = _ENERGY.search("".join(lines[-_LINES_BEHIND_END:]))
    parser = OutcarChunkParser(header, [Cell(), PositionsAndForces(), Stress()])
    try:
        atoms = parser.build(lines)
        energy_eV = float(energy[1] if energy else "none")
    except Exception as error:
        raise OutputError(f"the numbers of step {number} cannot be read ({reason_of(error)})") from error
    results, atoms.calc = atoms.calc.results, None
    return IonicStep(number, atoms, energy_eV, results["forces"], results.get("stress"))


def _header(path: Path, text: str) -> dict[str, object]:
    counts = re.search(r"ions per type\s*=((?:\s+\d+)+)", text)
    if counts is None:
        raise OutputError("its beginning, with the numbers of ions per type, is missing")
    numbers = [int(word) for word in counts[1].split()]
    for pattern in _SPECIES:
        words = [found[1] for word in pattern.findall(text) if (found := _ELEMENT.match(word))][: len(numbers)]
        if len(words) == len(numbers) and all(word in atomic_numbers for word in words):
            symbols = [word for word, count in zip(words, numbers, strict=True) for _ in range(count)]
            return {"symbols": symbols, "natoms": len(symbols), "constraint": _constraint(path, len(symbols))}
    raise OutputError(f"it does not name the elements of its {len(numbers)} types of ions")


def _constraint(path: Path, count: int) -> object:
    """Constraints from CONTCAR or POSCAR beside the file, which do not stand in an OUTCAR."""
    try:
        found = read_constraints_from_file(path.parent)
        Atoms("X" * count, constraint=found)
    except Exception:  # noqa: BLE001 - a POSCAR of another structure, or what is no POSCAR, says nothing of this run
        return None
    return found


def _nelm(text: str) -> int | None:
    found = _NELM.search(text)
    return int(found[1]) if found else None
