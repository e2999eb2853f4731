"""Read VASP's output: numbers in ASE's conventions, or the failure with VASP's own last lines."""

import re
import warnings
from pathlib import Path

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import GPa
from numpy.typing import NDArray
from pymatgen.io.vasp.outputs import Vasprun

from dft_interfaces.engines.calculation import Numbers, UnconvergedError
from dft_interfaces.engines.electronic_convergence import vasp_converged
from dft_interfaces.failures import EngineFailureError
from dft_interfaces.foreign import reading
from dft_interfaces.label import Failure
from dft_interfaces.output_tail import last_lines, output_text

LOG = "vasp.out"
"""File of VASP's standard streams."""

_KILOBAR = -0.1 * GPa
"""VASP's stress is a pressure, in kbar."""

_TAIL_CHARACTERS = 20_000

_MOMENTS = re.compile(r"magnetization \(x\)\s+# of ion.*\n-+\n((?: +\d+ .*\n)+)-+\n")

_PATTERNS = (
    (Failure.MEMORY, "out of memory|oom[-_ ]kill|cannot allocate|insufficient (virtual )?memory|bad_alloc"),
    (Failure.DISK, "no space left on device|disk quota exceeded"),
    (Failure.TIME, "due to time limit|walltime .*exceeded|time limit exceeded"),
    (Failure.UNCONVERGED, "ZHEGV|ZHEEV|Error EDDDAV|WARNING in EDDRMM|ZPOTRF|BRMIX: very serious"),
    (Failure.UNSUITABLE, "SGRCON|PRICEL|POSMAP|INVGRP|inverse of rotation matrix"),
    (Failure.CRASH, "segmentation fault|SIGSEGV|VERY BAD NEWS|internal error"),
)
"""Lines of VASP, its launcher or the queue by kind of failure; the first match counts."""

_MEANING = {
    Failure.MEMORY: "VASP ran out of memory: give it more nodes, or change incar: {NCORE: ...} or {KPAR: ...}",
    Failure.DISK: "the disk is full: name another scratch folder",
    Failure.TIME: "VASP was stopped by a time limit",
    Failure.UNCONVERGED: "VASP's electronic minimisation broke down",
    Failure.UNSUITABLE: "VASP's symmetry analysis failed on this structure: set incar: {ISYM: 0} or {SYMPREC: 1.0e-6}",
    Failure.CRASH: "VASP crashed",
}


def read_numbers(folder: Path) -> Numbers:
    """Read a finished calculation.

    The energy is the free energy (``e_fr_energy``, TOTEN), of which forces and stress are the derivatives.

    Raises:
        UnconvergedError: the self-consistency cycle reached its last step, or broke down.
        EngineFailureError: output missing or truncated.
    """
    with reading(
        lambda why: diagnosis(folder, f"vasprun.xml is truncated or unreadable ({why})"),
        (EngineFailureError, UnconvergedError),
    ):
        return _read_numbers(folder)


def _read_numbers(folder: Path) -> Numbers:
    vasprun = _vasprun(folder)
    if not vasprun.ionic_steps or "e_fr_energy" not in vasprun.ionic_steps[-1]:
        raise diagnosis(folder, "vasprun.xml holds no finished calculation")
    if not _is_converged(vasprun, folder):
        nelm = vasprun.parameters.get("NELM")
        raise UnconvergedError(f"electronic steps ended at NELM = {nelm} above EDIFF\n{_output_tail(folder)}")
    step = vasprun.ionic_steps[-1]
    stress = np.array(step["stress"], dtype=np.float64) * _KILOBAR if step.get("stress") is not None else None
    return Numbers(
        energy_eV=float(step["e_fr_energy"]),
        forces_eV_per_A=np.array(step["forces"], dtype=np.float64),
        stress_eV_per_A3=None if stress is None else full_3x3_to_voigt_6_stress(stress),
        magnetic_moments_uB=_moments(folder) if vasprun.is_spin else None,
    )


def diagnosis(folder: Path, known: str, failure: Failure = Failure.OUTPUT) -> EngineFailureError | UnconvergedError:
    """Return the failure that VASP's last output lines indicate."""
    tail = _output_tail(folder)
    found = next((kind for kind, pattern in _PATTERNS if re.search(pattern, tail, re.IGNORECASE)), None)
    if found is None:
        return EngineFailureError(failure, f"{known}\n{tail}")
    message = f"{_MEANING[found]} ({known})\n{tail}"
    # Another algorithm may converge where this one broke down, so that a retry strategy is tried.
    return UnconvergedError(message) if found is Failure.UNCONVERGED else EngineFailureError(found, message)


def _vasprun(folder: Path) -> Vasprun:
    path = folder / "vasprun.xml"
    if not path.is_file() or path.stat().st_size == 0:
        raise diagnosis(folder, "VASP left no vasprun.xml")
    with warnings.catch_warnings(action="ignore"):  # convergence is checked below
        return Vasprun(path, parse_dos=False, parse_eigen=False, parse_potcar_file=False)


def _is_converged(vasprun: Vasprun, folder: Path) -> bool:
    """Return whether the last cycle met EDIFF: from the OUTCAR, or else from its number of steps."""
    converged = vasp_converged(output_text(folder / "OUTCAR"))
    return bool(vasprun.converged_electronic) if converged is None else converged


def _moments(folder: Path) -> NDArray[np.float64] | None:
    """Return the moments inside the atoms' spheres; None if the OUTCAR does not print them.

    pymatgen's and ASE's readers of whole OUTCARs refuse files that lack any other part.
    """
    tables = _MOMENTS.findall(output_text(folder / "OUTCAR"))
    if not tables:
        return None
    return np.array([float(row.split()[-1]) for row in tables[-1].splitlines()], dtype=np.float64)


def _output_tail(folder: Path) -> str:
    logs = (output_text(folder / name)[-_TAIL_CHARACTERS:] for name in ("OUTCAR", LOG))
    return "\n".join(filter(None, (last_lines(log) for log in logs)))
