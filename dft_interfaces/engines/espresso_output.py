"""Read from pw.x's output whether it finished, why it did not, and the moments that ASE misreads."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dft_interfaces.engines.calculation import UnconvergedError
from dft_interfaces.failures import EngineFailureError, describe_exit, failure_of_exit
from dft_interfaces.label import Failure
from dft_interfaces.output_tail import last_lines, output_text

_BOX = re.compile(r"%{20,}\s*\n(.*?)\n\s*%{20,}", re.DOTALL)
_TIMINGS = re.compile(r"^\s+init_run\s+:", re.MULTILINE)
_MOMENT = re.compile(r"^\s*atom:?\s+\d+\s.*?magn[:=]\s*(-?\d+\.\d+)", re.MULTILINE)

_UNCONVERGED = (
    "convergence NOT achieved",
    "too many bands are not converged",
    "problems computing cholesky",
    "S matrix not positive definite",
)


def require_finished(folder: Path, exit_code: int, *, converged: bool = True) -> None:
    """Check that pw.x finished.

    Raises:
        UnconvergedError: the self-consistency cycle or the diagonalization did not converge.
        EngineFailureError: anything else, with its kind.
    """
    output, errors = output_text(folder / "espresso.pwo"), output_text(folder / "espresso.err")
    everything = output + errors + output_text(folder / "CRASH")
    tail = "\n".join(filter(None, [_error_box(everything), last_lines(_TIMINGS.split(output)[0]), last_lines(errors)]))
    failure = failure_of_exit(exit_code, everything)
    unconverged = any(sign in everything for sign in _UNCONVERGED) and (converged or exit_code != 0)
    if failure is Failure.CRASH and unconverged:
        raise UnconvergedError(f"pw.x did not converge\n{tail}")
    if exit_code != 0:
        raise EngineFailureError(failure, f"pw.x ended with {describe_exit(exit_code)}\n{tail}")
    if "JOB DONE" not in output:
        raise EngineFailureError(Failure.OUTPUT, f"the output of pw.x ends before JOB DONE\n{tail}")


def magnetic_moments_uB(folder: Path, atom_count: int) -> NDArray[np.float64] | None:
    """Return the last moments (n,) that pw.x printed, integrated in spheres around the atoms; None without spin.

    ASE 3.29 reads the last column of these lines, which is the constraint and not the moment, and the first such block.
    """
    moments = [float(moment) for moment in _MOMENT.findall(output_text(folder / "espresso.pwo"))]
    return np.array(moments[-atom_count:]) if len(moments) >= atom_count else None


def _error_box(text: str) -> str:
    found = _BOX.search(text)
    return "\n".join(line.strip() for line in found[1].splitlines()) if found else ""
