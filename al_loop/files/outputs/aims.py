"""The output of FHI-aims, ionic step by ionic step."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ase.io import ParseError
from ase.io.aims import AimsOutHeaderChunk, get_aims_out_chunks, get_header_chunk

from al_loop.files.outputs.step import UNCONVERGED, IonicStep, OutputError
from al_loop.files.text.open_text import open_text

_CONVERGED = "Self-consistency cycle converged."
_BEGINS = "Begin self-consistency loop"
_UNCONVERGED = "Self-consistency cycle not"


def steps(path: Path) -> Iterator[IonicStep]:
    """Yield every ionic step with an energy; the energy is the electronic free energy.

    Raises:
        OutputError: a run with constraints, whose forces are not printed.
    """
    with open_text(path) as file, warnings.catch_warnings(action="ignore"):
        try:
            header = _Header(get_header_chunk(file).lines)
        except ParseError:
            return  # it ended before the first cycle
        if header.constraints:
            raise OutputError(
                "FHI-aims prints forces from which the relaxation constraints are taken out, and a label needs all of "
                "them; calculate the structures again without constrain_relaxation"
            )
        number = 0
        for chunk in get_aims_out_chunks(file, header):
            energy_eV = chunk.free_energy
            if energy_eV is None:  # what follows the last step of a relaxation
                continue
            number += 1
            atoms = chunk._atoms  # chunk.atoms attaches a calculator, which refuses some results
            if not _converged(chunk.lines):
                yield IonicStep(number, atoms, left_out=UNCONVERGED)
            else:
                yield IonicStep(number, atoms, energy_eV, chunk.forces, chunk.stress)


class _Header(AimsOutHeaderChunk):  # type: ignore[misc]
    """The beginning of an output, of which no more has to be there than structures need."""

    @property
    def header_summary(self) -> dict[str, Any]:
        names = ("initial_atoms", "initial_cell", "constraints", "n_atoms")
        return {name: getattr(self, name) for name in names}


def _converged(lines: list[str]) -> bool:
    last = False
    for line in lines:
        if _CONVERGED in line:
            last = True
        elif _BEGINS in line or _UNCONVERGED in line:  # aims may go on after either
            last = False
    return last
