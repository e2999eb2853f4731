"""The files beside an output of CP2K: ``-pos-1.xyz``, ``-frc-1.xyz`` and ``-1.cell``."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from al_loop.files.outputs.step import OutputError
from al_loop.files.text.open_text import read_text

Array = NDArray[np.float64]
HEADLINE: Final = re.compile(r"^\s*i =\s*(\d+).*?E =\s*(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Frame:
    """One frame: its step, its energy, the symbols, and positions (Å) or forces (Hartree/Bohr), (n, 3)."""

    step: int
    energy_Ha: float
    symbols: list[str]
    rows: Array


Trajectory = list[Frame]


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
        frames.append(Frame(int(headline[1]), float(headline[2]), symbols, numbers))
        start += len(rows) + 2
    return frames


def read_cells(path: Path) -> dict[int, Array]:
    """Return the cell (3, 3) in Å of each step; none if the file is not there."""
    if not path.is_file():
        return {}
    rows = [line.split() for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]
    return {int(row[0]): np.array(row[2:11], dtype=np.float64).reshape(3, 3) for row in rows}
