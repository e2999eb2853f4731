"""The text output of GPAW, up to 25 and since 26, step by step."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from ase import Atoms
from ase.io.gpaw_out import find_blocks, process_block
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from al_loop.files.outputs.step import UNCONVERGED, IonicStep, OutputError
from al_loop.files.text.open_text import open_text

_FREE: Final = re.compile(r"free energy:\s*(\S+)", re.IGNORECASE)
_CONVERGED: Final = re.compile(r"^\s*converged (?:after|in) (\d+) (?:iterations|steps)", re.IGNORECASE | re.MULTILINE)
_LIMIT: Final = re.compile(r"maximum number of iterations \[minit\]: (\d+)", re.IGNORECASE)
_CHARGE: Final = re.compile(r"total charge:\s*(\S+)", re.IGNORECASE)
_NEW_CHARGE: Final = re.compile(r"^\s+Charge:\s*(\S+)\s+# \|e\|", re.MULTILINE)


def steps(path: Path) -> Iterator[IonicStep]:
    """Yield every structure that was calculated; the energy is the free energy, never the one extrapolated to 0 K.

    Raises:
        OutputError: dispersion that was added outside of GPAW to the extrapolated energy.
    """
    with open_text(path) as file:
        lines = file.readlines()
    text = "".join(lines)
    limits = [int(limit) for limit in _LIMIT.findall(text)]
    limit = min(limits) if limits else None
    number = 0
    for block, atoms, forces, stress in _old(lines) if "\npositions:\n" in text.lower() else _new(lines):
        energy = _FREE.search(block)
        converged = _CONVERGED.search(block)
        if energy is None and forces is None and converged is None and "iter:" not in block:
            continue  # printed again, with nothing calculated
        number += 1
        # With the criterion "maximum iterations" GPAW calls converged whatever the last iteration left.
        if energy is None or converged is None or (limit is not None and int(converged[1]) >= limit):
            yield IonicStep(number, atoms, left_out=UNCONVERGED)
        else:
            yield IonicStep(number, atoms, float(energy[1]), forces, stress)


_Block = tuple[str, Atoms, NDArray[np.float64] | None, NDArray[np.float64] | None]


def _old(lines: list[str]) -> Iterator[_Block]:
    """Blocks of versions up to 25, by ASE's parser of a block, which wants lower case."""
    cell_lines: list[str] = []
    for block in find_blocks([line.lower() for line in lines]):
        text = "".join(block)
        if "vdw correction:" in text:
            raise OutputError("its dispersion was added to the energy at 0 K, of which the forces are no derivative")
        if "unit cell:\n" in block:
            start = block.index("unit cell:\n")
            cell_lines = block[start : start + 6]
        elif cell_lines:
            block += cell_lines  # noqa: PLW2901 - a cell that did not change is not printed again
        atoms = process_block(block, None, is_first=True)
        if len(atoms) == 0:
            continue
        results = {} if atoms.calc is None else atoms.calc.results
        moments = _initial_moments(block, len(atoms))
        plain = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, magmoms=moments)
        stress = results.get("stress")
        if stress is not None and np.shape(stress) == (3, 3):
            stress = full_3x3_to_voigt_6_stress(np.array(stress))
        forces = results.get("forces")
        yield text, plain, None if forces is None else np.array(forces, dtype=np.float64), stress


def _initial_moments(block: list[str], count: int) -> list[float] | None:
    words = [re.split(r"[\s,()]+", line.strip().rstrip(")")) for line in block[1 : count + 1]]
    moments = [float(row[-1]) if len(row) > 5 else 0.0 for row in words]  # noqa: PLR2004 - number, symbol, position
    return moments if any(moments) else None


def _new(lines: list[str]) -> Iterator[_Block]:
    """Blocks of GPAW since 26, whose tables have bars."""
    begins = [index for index, line in enumerate(lines) if line.startswith("Atoms  #")]
    for begin, end in zip(begins, [*begins[1:], len(lines)], strict=True):
        block = lines[begin:end]
        rows, cell = _table(block, "Atoms  #"), _table(block, "Unit cell  #")
        if not rows or len(cell) != 3:  # noqa: PLR2004
            continue
        moments = [float(row[5].strip("()").split(",")[-1]) for row in rows]
        atoms = Atoms(
            [row[1] for row in rows],
            [[float(word) for word in row[2:5]] for row in rows],
            cell=[[float(word) for word in row[1:4]] for row in cell],
            pbc=[row[0] == "yes" for row in cell],
            magmoms=moments if any(moments) else None,
        )
        charge = _NEW_CHARGE.search("".join(block))
        if charge and float(charge[1]) != 0:
            atoms.info["charge"] = round(float(charge[1]))
        yield "".join(block), atoms, _numbers(block, "Forces  #", len(rows)), _stress(block)


def _stress(block: list[str]) -> NDArray[np.float64] | None:
    found = _numbers(block, "Stress tensor  #", 3)
    return None if found is None else np.asarray(full_3x3_to_voigt_6_stress(found), dtype=np.float64)


def _numbers(block: list[str], title: str, count: int) -> NDArray[np.float64] | None:
    """A table (count, 3), None if it is not there or was cut off."""
    rows = _table(block, title)
    return np.array([[float(word) for word in row[:3]] for row in rows]) if len(rows) == count else None


def _table(block: Iterable[str], title: str) -> list[list[str]]:
    """The words in the rows of the first table of that title, without its headline."""
    rows: list[list[str]] = []
    remaining = iter(block)
    for line in remaining:
        if line.startswith(title):
            for row in remaining:
                if not row.startswith("|"):
                    break
                rows.append([word.strip() for word in row.split("#")[0].strip().strip("|").split("|")])
            break
    return [row for row in rows[1:] if not set("".join(row)) <= {"-"}]
