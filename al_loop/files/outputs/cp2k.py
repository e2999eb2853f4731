"""CP2K's output: single points from the output alone, trajectories with the ``-pos-1.xyz`` file in its folder."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.units import Bohr, Hartree
from numpy.typing import NDArray

from al_loop.files.outputs import cp2k_tables
from al_loop.files.outputs.step import UNCONVERGED, IonicStep, OutputError
from al_loop.files.text.open_text import read_text

Array = NDArray[np.float64]
HEADLINE: Final = re.compile(r"^\s*i =\s*(\d+).*?E =\s*(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class TrajectoryFrame:
    """One frame: its step, its energy, the symbols, and positions (Å) or forces (Hartree/Bohr), (n, 3)."""

    step: int
    energy_Ha: float
    symbols: list[str]
    rows: Array


Trajectory = list[TrajectoryFrame]


_ENERGY: Final = re.compile(r"^ ENERGY\| Total FORCE_EVAL.*?energy\s+[\[(]\S+[\])]:?\s+(\S+)", re.MULTILINE)
_SCF: Final = re.compile(r"SCF run (?:NOT )?converged|outer SCF loop (?:FAILED|converged)")
_PROJECT: Final = re.compile(r"^ GLOBAL\| Project name\s+(\S+)", re.MULTILINE)
_CHARGE: Final = re.compile(r"^ DFT\| Charge\s+(-?\d+)", re.MULTILINE)
_MULTIPLICITY: Final = re.compile(r"^ DFT\| Multiplicity\s+(\d+)", re.MULTILINE)
_PERIODIC: Final = re.compile(r"^ (?:CELL|POISSON)\| Periodicity\s+(\S+)", re.MULTILINE)
_VARIABLE_CELL: Final = re.compile(r"Run type\s+CELL_OPT|ensemble type\s*=?\s*NP", re.IGNORECASE)
_SAME_ENERGY_HA: Final = 1e-7
_ANOTHER_OUTPUT: Final = "their energies are not in this output"


@dataclass(frozen=True)
class _Block:
    """One energy, and the text of the output before and after it."""

    energy_Ha: float
    before: str
    behind: str

    @property
    def converged(self) -> bool:
        said = _SCF.findall(self.before)
        if not said or "NOT" in said[-1] or "FAILED" in said[-1]:
            return False
        # An inner loop may use up its steps as long as the outer one converges behind it.
        return "Leaving inner SCF loop" not in self.before.rpartition(said[-1])[2]


def steps(path: Path) -> Iterator[IonicStep]:
    """Yield the structures of an output that have energies, with charge and multiplicity.

    The energy is that of FORCE_EVAL, which holds the electronic entropy where electrons are smeared.

    Raises:
        OutputError: an output of several energies without the trajectory of its positions, or one without cell or
            coordinates.
    """
    text = read_text(path)
    blocks = _blocks(text)
    trajectory = _beside(path, text, "pos") if len(blocks) > 1 else None
    if trajectory is None:
        yield from _single_points(blocks, path, text)
    else:
        yield from _along(trajectory, blocks, path, text)


def _blocks(text: str) -> list[_Block]:
    found = list(_ENERGY.finditer(text))
    begins = [0, *(match.end() for match in found[:-1])]
    ends = [*(match.start() for match in found[1:]), len(text)]
    return [
        _Block(float(match[1]), text[begin : match.start()], text[match.end() : end])
        for match, begin, end in zip(found, begins, ends, strict=True)
    ]


def _single_points(blocks: list[_Block], path: Path, text: str) -> Iterator[IonicStep]:
    """Energies behind coordinates of their own: one run, or several in one file."""
    cell = None
    for number, block in enumerate(blocks, 1):
        found = cp2k_tables.structure(block.before)
        if found is None:
            raise OutputError(
                f"its energy {number} has no coordinates: {_project(text)}-pos-1.xyz, which holds them, is not "
                f"in its folder; copy that file, and {_project(text)}-frc-1.xyz, into {path.parent}"
            )
        cell = _cell_of(block.before, cell)
        yield _step(number, _atoms(*found, cell, text), block, None)


def _along(trajectory: Trajectory, blocks: list[_Block], path: Path, text: str) -> Iterator[IonicStep]:
    """Frames of the trajectory, each with the block of its energy; energies of line searches belong to no frame."""
    forces = {frame.step: frame.rows * Hartree / Bohr for frame in _beside(path, text, "frc") or ()}
    cell_of = _cells(path, text)
    following = 0
    for number, frame in enumerate(trajectory, 1):
        same = (
            i for i in range(following, len(blocks)) if abs(blocks[i].energy_Ha - frame.energy_Ha) < _SAME_ENERGY_HA
        )
        index = next(same, None)
        if index is None:
            yield IonicStep(number, Atoms(), left_out=_ANOTHER_OUTPUT)
            continue
        following = index + 1
        numbers = [atomic_numbers[symbol] for symbol in frame.symbols]
        atoms = _atoms(numbers, frame.rows, cell_of(frame.step), text)
        yield _step(number, atoms, blocks[index], forces.get(frame.step))


def _step(number: int, atoms: Atoms, block: _Block, forces: Array | None) -> IonicStep:
    if not block.converged:
        return IonicStep(number, atoms, left_out=UNCONVERGED)
    if forces is None:
        forces = cp2k_tables.forces_eV_per_A(block.behind, len(atoms))
    stress = cp2k_tables.stress_eV_per_A3(block.behind)
    return IonicStep(number, atoms, block.energy_Ha * Hartree, forces, stress)


def _atoms(numbers: list[int], positions: Array, cell: Array, text: str) -> Atoms:
    periodic = _PERIODIC.findall(text)
    axes = periodic[0].upper() if periodic else "XYZ"
    atoms = Atoms(numbers, positions, cell=cell, pbc=[axis in axes for axis in "XYZ"])
    for key, pattern in (("charge", _CHARGE), ("spin", _MULTIPLICITY)):
        if found := pattern.search(text):
            atoms.info[key] = int(found[1])
    return atoms


def _cell_of(text: str, default: Array | None = None) -> Array:
    found = cp2k_tables.cell(text)
    found = default if found is None else found
    if found is None:
        raise OutputError("it does not print its cell (CELL| Vector a, b, c); run CP2K with PRINT_LEVEL MEDIUM")
    return found


def _cells(path: Path, text: str) -> Callable[[int], Array]:
    """The cell of a step: of the ``-1.cell`` file where it is there, else the output's own."""
    found = read_cells(path.parent / f"{_project(text)}-1.cell")
    if found:
        return found.__getitem__
    if _VARIABLE_CELL.search(text):
        raise OutputError(
            f"its cell varies, and {_project(text)}-1.cell with the cells is not in its folder; copy it there"
        )
    cell = _cell_of(text)
    return lambda _: cell


def _beside(path: Path, text: str, what: str) -> Trajectory | None:
    file = path.parent / f"{_project(text)}-{what}-1.xyz"
    return read_trajectory(file) if file.is_file() else None


def _project(text: str) -> str:
    found = _PROJECT.search(text)
    return found[1] if found else "PROJECT"


def read_trajectory(path: Path) -> Trajectory:
    """Read the complete frames of a trajectory in CP2K's own XYZ.

    Raises:
        OutputError: another kind of XYZ.
    """
    lines = read_text(path).splitlines()
    frames: Trajectory = []
    start = 0
    while start + 1 < len(lines):
        headline = HEADLINE.match(lines[start + 1])
        if headline is None or not lines[start].strip().isdigit():
            raise OutputError(
                f"{path.name} beside it: received the headline {lines[start + 1][:60]!r}, expected 'i = ..., E = ...' "
                "as CP2K's FORMAT XYZ writes it"
            )
        rows = [line.split() for line in lines[start + 2 : start + 2 + int(lines[start])]]
        if len(rows) < int(lines[start]):
            break
        symbols = [re.sub("[^A-Za-z].*", "", row[0]).capitalize() for row in rows]
        numbers = np.array([row[1:4] for row in rows], dtype=np.float64)
        frames.append(TrajectoryFrame(int(headline[1]), float(headline[2]), symbols, numbers))
        start += len(rows) + 2
    return frames


def read_cells(path: Path) -> dict[int, Array]:
    """Return the cell (3, 3) in Å of each step; none if the file is not there."""
    if not path.is_file():
        return {}
    rows = [line.split() for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]
    return {int(row[0]): np.array(row[2:11], dtype=np.float64).reshape(3, 3) for row in rows}
