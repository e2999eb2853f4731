"""What VASP left behind: numbers in ASE's conventions, or why there are none in VASP's own words."""

import re
import warnings
from pathlib import Path

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import GPa
from numpy.typing import NDArray
from pymatgen.io.vasp.outputs import Vasprun

from dft_interfaces.engines.calculation import EngineFailureError, Numbers, UnconvergedError, last_lines
from dft_interfaces.engines.electronic_convergence import vasp_converged
from dft_interfaces.foreign import reading
from dft_interfaces.label import Failure

LOG = "vasp.out"
"""What VASP writes to its standard streams."""

_KILOBAR = -0.1 * GPa
"""VASP's stress is a pressure, in kbar."""

_TAIL_BYTES = 20_000

_MOMENTS = re.compile(r"magnetization \(x\)\s+# of ion.*\n-+\n((?: +\d+ .*\n)+)-+\n")

_SIGNS = (
    (Failure.MEMORY, "out of memory|oom[-_ ]kill|cannot allocate|insufficient (virtual )?memory|bad_alloc"),
    (Failure.DISK, "no space left on device|disk quota exceeded"),
    (Failure.TIME, "due to time limit|walltime .*exceeded|time limit exceeded"),
    (Failure.UNCONVERGED, "ZHEGV|ZHEEV|Error EDDDAV|WARNING in EDDRMM|ZPOTRF|BRMIX: very serious"),
    (Failure.UNSUITABLE, "SGRCON|PRICEL|POSMAP|INVGRP|inverse of rotation matrix"),
    (Failure.CRASH, "segmentation fault|SIGSEGV|VERY BAD NEWS|internal error"),
)
"""Lines of VASP, its launcher or the queue, and what they mean; the first that matches counts."""

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
        UnconvergedError: the self-consistency cycle used up its steps, or broke down on the way.
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
    """Return the failure that VASP's last words tell of.

    Args:
        folder: of the calculation.
        known: what is known besides.
        failure: its kind if the words tell nothing.
    """
    words = _output_tail(folder)
    found = next((kind for kind, pattern in _SIGNS if re.search(pattern, words, re.IGNORECASE)), None)
    if found is None:
        return EngineFailureError(failure, f"{known}\n{words}")
    message = f"{_MEANING[found]} ({known})\n{words}"
    # Another algorithm may get where this one broke down: that is what the ladder is for.
    return UnconvergedError(message) if found is Failure.UNCONVERGED else EngineFailureError(found, message)


def _vasprun(folder: Path) -> Vasprun:
    path = folder / "vasprun.xml"
    if not path.is_file() or path.stat().st_size == 0:
        raise diagnosis(folder, "VASP left no vasprun.xml")
    with warnings.catch_warnings(action="ignore"):  # that it did not converge is seen below
        return Vasprun(path, parse_dos=False, parse_eigen=False, parse_potcar_file=False)


def _is_converged(vasprun: Vasprun, folder: Path) -> bool:
    """Whether the last cycle met EDIFF: as the OUTCAR says, or else by its number of steps."""
    said = vasp_converged(_tail(folder / "OUTCAR", None))
    return bool(vasprun.converged_electronic) if said is None else said


def _moments(folder: Path) -> NDArray[np.float64] | None:
    """Return the moments inside the atoms' spheres; None if the OUTCAR does not print them.

    pymatgen's and ASE's readers of whole OUTCARs refuse files that lack anything else they look for.
    """
    tables = _MOMENTS.findall(_tail(folder / "OUTCAR", None))
    if not tables:
        return None
    return np.array([float(row.split()[-1]) for row in tables[-1].splitlines()], dtype=np.float64)


def _output_tail(folder: Path) -> str:
    logs = (_tail(folder / name, _TAIL_BYTES) for name in ("OUTCAR", LOG))
    return "\n".join(filter(None, (last_lines(log) for log in logs)))


def _tail(path: Path, size: int | None) -> str:
    if not path.is_file():
        return ""
    text = path.read_text(encoding="utf-8", errors="replace")
    return text if size is None else text[-size:]
