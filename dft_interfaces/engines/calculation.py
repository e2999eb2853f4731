"""Common to all engines: limit the threads, copy the structure, and return every outcome as a label."""

import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from dft_interfaces.failures import EngineFailureError, failure_of
from dft_interfaces.label import Failure, Label, LabelStatus, LevelOfTheory
from dft_interfaces.label_check import checked
from dft_interfaces.settings.base import BaseEngineSettings, RetryStrategy
from dft_interfaces.structure import CannotCalculateError, charge_and_multiplicity, require_computable


class UnconvergedError(Exception):
    """The self-consistency cycle ended without convergence; carries the engine's last lines."""


@dataclass(frozen=True)
class Numbers:
    """Raw results: eV, (n, 3) eV/Å, (6,) eV/Å³ in Voigt order, (n,) moments, and a remark."""

    energy_eV: float
    forces_eV_per_A: NDArray[np.float64]
    stress_eV_per_A3: NDArray[np.float64] | None = None
    magnetic_moments_uB: NDArray[np.float64] | None = None
    remark: str = ""


Settings = TypeVar("Settings", bound=BaseEngineSettings)
Strategy = TypeVar("Strategy", bound=RetryStrategy)


class Engine(ABC, Generic[Settings, Strategy]):
    """An engine of which each label is one calculation; its attributes are those of ``DFTEngine``."""

    properties = frozenset({"energy", "forces", "stress"})
    counts_electrons: ClassVar[bool] = True
    """Whether charge and multiplicity must fit the structure's electrons."""

    def __init__(self, settings: Settings, level: LevelOfTheory, threads: int = 1) -> None:
        self._settings = settings
        self._threads = threads
        self.name = settings.engine
        self.level_of_theory = level
        self.cores = settings.cores
        self.ladder = settings.ladder

    def label(self, atoms: Atoms, strategy: Strategy | None = None) -> Label:
        """Calculate one structure; see ``DFTEngine.label``."""

        def calculate(copy: Atoms) -> Numbers:
            if self.counts_electrons:
                charge_and_multiplicity(copy)
            require_no_objection(self._settings, copy)
            return self._calculate(copy, strategy)

        return labelled(atoms, self.level_of_theory, calculate, self._threads)

    @abstractmethod
    def _calculate(self, atoms: Atoms, strategy: Strategy | None) -> Numbers:
        """Calculate a copy of a structure that the settings can label; see ``labelled`` for what it raises."""


def labelled(atoms: Atoms, level: LevelOfTheory, calculate: Callable[[Atoms], Numbers], threads: int = 1) -> Label:
    """Run one calculation on a copy of the structure and return its outcome as a checked label.

    Args:
        atoms: the caller's structure; is not modified.
        level: the engine's level of theory.
        calculate: runs the calculation; raises CannotCalculateError, UnconvergedError, EngineFailureError where the
            reason is known, or anything else for a crash.
        threads: number of threads of the calculation's libraries in this process.
    """
    start = time.perf_counter()
    outcome = _outcome(atoms, calculate, threads)
    cost_s = time.perf_counter() - start
    if isinstance(outcome, _Failed):
        return Label(outcome.status, level.fingerprint, cost_s=cost_s, message=outcome.message, failure=outcome.failure)
    label = Label(
        status=LabelStatus.CONVERGED,
        level_of_theory=level.fingerprint,
        energy_eV=float(outcome.energy_eV),
        forces_eV_per_A=_plain(outcome.forces_eV_per_A),
        stress_eV_per_A3=_plain(outcome.stress_eV_per_A3),
        magnetic_moments_uB=_plain(outcome.magnetic_moments_uB),
        cost_s=cost_s,
        message=outcome.remark,
    )
    return checked(label, atoms, level)


def require_no_objection(settings: BaseEngineSettings, atoms: Atoms) -> None:
    """Check that the settings can label a structure.

    Raises:
        CannotCalculateError: with the first objection.
    """
    for objection in settings.objections(atoms):
        raise CannotCalculateError(f"{objection.about}: {objection.text}")


@dataclass(frozen=True)
class _Failed:
    status: LabelStatus
    failure: Failure
    message: str


def _outcome(atoms: Atoms, calculate: Callable[[Atoms], Numbers], threads: int) -> Numbers | _Failed:
    try:
        # Constraints would silently zero forces, and an attached calculator would replace the engine.
        copy = atoms.copy()
        copy.set_constraint()
        require_computable(copy)
        with threadpool_limits(limits=threads):
            return calculate(copy)
    except CannotCalculateError as error:
        return _Failed(LabelStatus.REJECTED, Failure.UNSUITABLE, str(error))
    except UnconvergedError as error:
        return _Failed(LabelStatus.UNCONVERGED, Failure.UNCONVERGED, str(error))
    except EngineFailureError as error:
        return _Failed(LabelStatus.FAILED, error.failure, str(error))
    except Exception as error:  # noqa: BLE001 - whatever an engine raises is the outcome of this label
        return _Failed(LabelStatus.FAILED, failure_of(error), traceback.format_exc())


def _plain(array: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    return None if array is None else np.array(array, dtype=np.float64)
