"""VASP's vasprun.xml, ionic step by ionic step; of a run that was killed, the complete ones."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixScaled
from ase.io.formats import open_with_compression
from ase.io.vasp import atoms_from_step

from al_loop.files.outputs import vasp_outcar
from al_loop.files.outputs.step import MACHINE_LEARNED, NO_FORCES, UNCONVERGED, IonicStep

_DEFAULT_NELM: Final = 60
_SAME_ENERGY_EV: Final = 1e-3
_CUT_SYMBOLS: Final = {"r": "Zr"}  # VASP 5 writes "r " for zirconium


def steps(path: Path, outcar: Path | None = None) -> Iterator[IonicStep]:
    """Yield every complete ionic step.

    Args:
        path: the file.
        outcar: OUTCAR of the same run, which states whether a step converged; without it a step whose
            electronic loop used up NELM counts as unconverged.
    """
    run = _Run(vasp_outcar.loops(outcar) if outcar is not None else [])
    inside = False
    try:
        with open_with_compression(str(path), "rb") as file:
            for event, element in ET.iterparse(file, events=("start", "end")):  # noqa: S314 - expat is bounded
                if element.tag == "calculation":
                    inside = event == "start"
                if event == "start":
                    continue
                if element.tag == "calculation":
                    step = run.step(element)
                    if step is not None:
                        yield step
                    element.clear()
                elif element.tag == "structure" and not inside and element.get("name") is None:
                    yield run.machine_learned()
                elif not inside:
                    run.note(element)
    except ET.ParseError:
        return  # it was cut off


class _Run:
    """The header of the file, and the state of the reader."""

    def __init__(self, loops: list[tuple[float, bool]]) -> None:
        self.atoms: Atoms | None = None
        self._loops = loops
        self._symbols: list[str] = []
        self._parameters: dict[str, float] = {"pstress": 0.0}
        self._nelm = _DEFAULT_NELM
        self._machine_learned = False
        self._number = 0
        self._calculated = 0

    def note(self, element: Any) -> None:
        """Read a part before the ionic steps."""
        name, text = element.get("name"), (element.text or "").strip()
        if element.tag == "i" and name == "NELM" and text.isdigit():
            self._nelm = int(text)
        elif element.tag == "i" and name == "PSTRESS":
            self._parameters["pstress"] = float(text)
        elif element.tag == "i" and name == "ML_LMLFF":
            self._machine_learned = "T" in text.upper()
        elif element.tag == "atominfo":
            words = [entry[0].text.strip() for entry in element.find("array[@name='atoms']/set")]
            self._symbols = [_CUT_SYMBOLS.get(word, re.split("[^A-Za-z]", word)[0]) for word in words]
        elif element.tag == "structure" and name == "initialpos":
            self.atoms = _initial(element, self._symbols)

    def machine_learned(self) -> IonicStep:
        """A step that was predicted."""
        self._number += 1
        return IonicStep(self._number, Atoms(), left_out=MACHINE_LEARNED)

    def step(self, element: Any) -> IonicStep | None:
        """The step of a ``calculation``, None if it is not complete."""
        loop = element.findall("scstep")
        if not loop:
            if self._machine_learned:
                return self.machine_learned()
            self._number += 1
            return IonicStep(self._number, Atoms(), left_out=UNCONVERGED)
        energy = element.find('energy/i[@name="e_fr_energy"]')
        if energy is None or element.find("structure") is None or self.atoms is None:
            return None
        self._number += 1
        atoms = atoms_from_step(element, [], [], self._parameters, self.atoms.copy(), len(self.atoms))
        results, atoms.calc = atoms.calc.results, None
        if not self._converged(len(loop), results["free_energy"]):
            return IonicStep(self._number, atoms, left_out=UNCONVERGED)
        if results.get("forces") is None:
            return IonicStep(self._number, atoms, left_out=NO_FORCES)
        return IonicStep(self._number, atoms, float(results["free_energy"]), results["forces"], results.get("stress"))

    def _converged(self, count: int, energy_eV: float) -> bool:
        index, self._calculated = self._calculated, self._calculated + 1
        if index < len(self._loops) and abs(self._loops[index][0] - energy_eV) < _SAME_ENERGY_EV:
            return self._loops[index][1]
        return count < self._nelm


def _initial(element: Any, symbols: list[str]) -> Atoms:
    rows = {name: _rows(element, path) for name, path in _PLACES.items()}
    atoms = Atoms(symbols, cell=rows["cell"], scaled_positions=rows["positions"], pbc=True)
    fixed = [[word == "F" for word in (v.text or "").split()] for v in element.findall("varray[@name='selective']/v")]
    constraints: list[Any] = [FixScaled(i, mask, atoms.cell) for i, mask in enumerate(fixed) if 0 < sum(mask) < 3]  # noqa: PLR2004
    if whole := [i for i, mask in enumerate(fixed) if mask and all(mask)]:
        constraints.append(FixAtoms(whole))
    atoms.set_constraint(constraints)
    return atoms


_PLACES: Final = {"cell": "crystal/varray[@name='basis']/v", "positions": "varray[@name='positions']/v"}


def _rows(element: Any, place: str) -> np.ndarray[Any, Any]:
    return np.array([[float(word) for word in (v.text or "").split()] for v in element.findall(place)])
