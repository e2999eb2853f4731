"""What all engines share: one core, one copy of the structure, and every outcome as a label."""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from dft_interfaces.label import Label, LabelStatus, LevelOfTheory
from dft_interfaces.label_check import checked
from dft_interfaces.structure import CannotCalculateError, require_computable

LOG_LINES = 25


class UnconvergedError(Exception):
    """The self-consistency cycle ended without convergence; carries the engine's last lines."""


@dataclass(frozen=True)
class Numbers:
    """Raw results: eV, (n, 3) eV/Å, and (6,) eV/Å³ in Voigt order or None."""

    energy_eV: float
    forces_eV_per_A: NDArray[np.float64]
    stress_eV_per_A3: NDArray[np.float64] | None = None


def labelled(atoms: Atoms, level: LevelOfTheory, calculate: Callable[[Atoms], Numbers]) -> Label:
    """Run one calculation on a copy of the structure, on one core, and return its outcome as a checked label.

    Args:
        atoms: the caller's structure; stays as it is.
        level: the engine's level of theory.
        calculate: does the work; raises CannotCalculateError, UnconvergedError, or anything else for a failure.
    """
    start = time.perf_counter()
    status, message, numbers = _outcome(atoms, calculate)
    label = Label(
        status=status,
        level_of_theory=level.fingerprint,
        energy_eV=None if numbers is None else float(numbers.energy_eV),
        forces_eV_per_A=None if numbers is None else _plain(numbers.forces_eV_per_A),
        stress_eV_per_A3=None if numbers is None else _plain(numbers.stress_eV_per_A3),
        cost_s=time.perf_counter() - start,
        message=message,
    )
    return checked(label, atoms, level)


def last_lines(log: str, count: int = LOG_LINES) -> str:
    """Return the last non-empty lines of an engine's log."""
    return "\n".join([line.rstrip() for line in log.splitlines() if line.strip()][-count:])


def _outcome(atoms: Atoms, calculate: Callable[[Atoms], Numbers]) -> tuple[LabelStatus, str, Numbers | None]:
    try:
        # Constraints would silently zero forces; a calculator would answer in place of the engine.
        copy = atoms.copy()
        copy.set_constraint()
        require_computable(copy)
        with threadpool_limits(limits=1):
            return LabelStatus.CONVERGED, "", calculate(copy)
    except CannotCalculateError as error:
        return LabelStatus.REJECTED, str(error), None
    except UnconvergedError as error:
        return LabelStatus.UNCONVERGED, str(error), None
    except Exception:  # noqa: BLE001 - whatever an engine raises is the outcome of this label
        return LabelStatus.FAILED, traceback.format_exc(), None


def _plain(array: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    return None if array is None else np.array(array, dtype=np.float64)
