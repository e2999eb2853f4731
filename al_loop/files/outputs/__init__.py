"""Read outputs of DFT codes step by step: the labels, and the reason why a step is not one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from ase import Atoms

from al_loop.errors import InputError
from al_loop.files.outputs import aims, cp2k, espresso, gpaw, orca, vasp_outcar, vasprun
from al_loop.files.outputs.step import CUT_OFF, NO_FORCES, NOT_FINITE, IonicStep, OutputError
from al_loop.files.outputs.vasp_run import other_output
from al_loop.utils.foreign_input import reason_of

OUTPUTS: Final = {
    "vasp-outcar": "VASP OUTCAR",
    "vasprun": "VASP vasprun.xml",
    "espresso": "pw.x output",
    "cp2k": "CP2K output",
    "orca": "ORCA output",
    "aims": "FHI-aims output",
    "gpaw": "GPAW text output",
}
"""Format -> what messages call it."""

_READERS: Final[dict[str, Callable[[Path], Iterator[IonicStep]]]] = {
    "vasp-outcar": vasp_outcar.steps,
    "vasprun": lambda path: vasprun.steps(path, other_output(path)),
    "espresso": espresso.steps,
    "cp2k": cp2k.steps,
    "orca": orca.steps,
    "aims": aims.steps,
    "gpaw": gpaw.steps,
}


@dataclass(frozen=True)
class Output:
    """The contents of an output.

    Attributes:
        labels: the ionic steps that are labels; all have forces, or none has.
        left_out: reason -> numbers of the steps left out.
        steps: total number of steps.
    """

    labels: list[IonicStep]
    left_out: dict[str, list[int]]
    steps: int

    def notes(self, path: Path) -> list[str]:
        """One sentence for each reason why steps were left out."""
        return [
            f"{path}: left out {len(numbers)} of {self.steps} steps ({_listed(numbers)}), because {reason}."
            for reason, numbers in self.left_out.items()
        ]


def read_output(path: Path, kind: str) -> Output:
    """Read an output and decide for each step whether it is a label.

    Raises:
        InputError: a file that cannot be read; where another file of the same run can, it is named.
    """
    try:
        return _judged(list(_READERS[kind](path)))
    except Exception as error:
        reason = str(error) if isinstance(error, OutputError) else reason_of(error)
        raise InputError(f"{path} cannot be read as {OUTPUTS[kind]}: {reason}. {_remedy(path, kind)}") from error


def no_labels(path: Path, kind: str, output: Output) -> str:
    """Return why an output holds no label, and what to do."""
    if not output.steps:
        return (
            f"{path} ({OUTPUTS[kind]}) holds no finished step: it was cut off, or calculated no energies. "
            f"{_remedy(path, kind)}"
        )
    reasons = "; ".join(f"{reason} (steps {_listed(numbers)})" for reason, numbers in output.left_out.items())
    remedy = (
        _remedy(path, kind) if NO_FORCES in output.left_out else "Calculate the structures again until they converge"
    )
    return f"{path} ({OUTPUTS[kind]}) holds no label in {output.steps} steps: {reasons}. {remedy}"


def _judged(steps: list[IonicStep]) -> Output:
    some_forces = any(step.forces_eV_per_A is not None and not step.left_out for step in steps)
    labels: list[IonicStep] = []
    left_out: dict[str, list[int]] = {}
    for step in steps:
        reason = step.left_out or _defect(step, some_forces=some_forces)
        if reason:
            left_out.setdefault(reason, []).append(step.number)
        else:
            labels.append(replace(step, atoms=_plain(step.atoms)))
    return Output(labels, left_out, len(steps))


def _defect(step: IonicStep, *, some_forces: bool) -> str:
    if step.energy_eV is None or (step.forces_eV_per_A is None and some_forces):
        return NO_FORCES
    if step.forces_eV_per_A is not None and np.shape(step.forces_eV_per_A) != (len(step.atoms), 3):
        return CUT_OFF
    numbers = [step.energy_eV, *np.ravel(step.atoms.positions), *np.ravel(step.atoms.cell.array)]
    numbers += [*np.ravel(step.forces_eV_per_A)] if step.forces_eV_per_A is not None else []
    return "" if np.isfinite(numbers).all() else NOT_FINITE


def _plain(atoms: Atoms) -> Atoms:
    atoms.calc = None
    return atoms


def _listed(numbers: list[int]) -> str:
    """Return numbers as text, with ranges: 1-3, 7."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges)


def _remedy(path: Path, kind: str) -> str:
    if kind in {"vasp-outcar", "vasprun"}:
        other = other_output(path)
        name = "vasprun.xml" if kind == "vasp-outcar" else "OUTCAR"
        return f"Give {other} of the same run instead" if other else f"Give the {name} of the same run instead"
    return "Check that it is complete, or give the frames as extended XYZ with REF_energy and REF_forces"
