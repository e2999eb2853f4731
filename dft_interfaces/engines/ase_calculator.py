"""Any ASE calculator by import path: another code, or a machine-learned teacher in place of DFT."""

import hashlib
import importlib
import inspect
import time
import traceback
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators import emt
from ase.calculators.calculator import BaseCalculator, FileIOCalculator, SCFError, all_changes
from ase.calculators.genericfileio import GenericFileIOCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from dft_interfaces.engines.calculation import Engine, Numbers, UnconvergedError
from dft_interfaces.errors import EngineNotInstalledError, EngineSettingsError
from dft_interfaces.failures import EngineFailureError, failure_of
from dft_interfaces.foreign import reading
from dft_interfaces.label import LevelOfTheory
from dft_interfaces.output_tail import EngineLog, last_lines, last_written
from dft_interfaces.settings.ase_calculator import ASECalculatorSettings, ASERetryStrategy
from dft_interfaces.structure import charge_and_multiplicity

MODEL_ARGUMENT_NAMES = ("model", "checkpoint", "potential", "weights")
OUTPUT_BYTES = 200 * 2**20
"""Larger files hold wave functions and densities."""
CLOCK_STEP_S = 2.0
"""Coarsest resolution of file systems' time stamps."""


class ASECalculatorEngine(Engine[ASECalculatorSettings, ASERetryStrategy]):
    """Labels from a calculator that the user's own config names.

    The energy is the free energy where the calculator has one, since forces are its derivative.

    Raises:
        EngineSettingsError: the path is not a calculator class, its arguments do not fit, or it has no forces.
        EngineNotInstalledError: the path's library cannot be imported.
    """

    counts_electrons = False  # a learned potential may know none

    def __init__(self, settings: ASECalculatorSettings) -> None:
        self._arguments = dict(settings.arguments)
        self._class = _calculator_class(settings.calculator)
        _check_arguments(self._class, settings)
        super().__init__(settings, _level_of_theory(settings), threads=settings.cores)
        self._writes_files = issubclass(self._class, (FileIOCalculator, GenericFileIOCalculator))
        self._calculator: Any = None
        implemented = self._implemented_properties(settings.calculator)
        self.properties &= implemented
        if not {"energy", "forces"} <= self.properties:
            raise EngineSettingsError(
                f"received the calculator {settings.calculator} with the properties {sorted(implemented)}, "
                "expected energy and forces at least"
            )

    def estimate_s(self, atoms: Atoms) -> float:
        """See ``DFTEngine.estimate_s``; the cost of a learned potential, since a calculator does not state its own."""
        return 0.1 + 0.01 * len(atoms)

    def unknown_elements(self, symbols: Collection[str]) -> list[str]:
        """Return the elements that a calculator lacks; only those of EMT are known without a calculation."""
        known = set(emt.parameters) if issubclass(self._class, emt.EMT) else set(symbols)
        return sorted(set(symbols) - known)

    def _calculate(self, atoms: Atoms, strategy: ASERetryStrategy | None) -> Numbers:
        required = self.properties if atoms.pbc.all() else self.properties - {"stress"}
        changed = self._of_the_frame(atoms) | ({} if strategy is None else strategy.arguments)
        _spread_charge(atoms)
        log = EngineLog()
        with self._ready(changed) as calculator, redirect_stdout(log):
            if hasattr(calculator, "reset"):
                calculator.reset()
            started = time.time()
            try:
                # One call for all properties: some codes run once for each call.
                calculator.calculate(atoms, sorted(required), list(all_changes))
            except SCFError as error:
                raise UnconvergedError(f"SCF not converged: {error}") from error
            except Exception as error:
                written = last_written(Path(calculator.directory), started - CLOCK_STEP_S) if self._writes_files else ""
                output = "\n".join(filter(None, [log.last_lines(), written]))
                if not output:
                    raise
                raise EngineFailureError(
                    failure_of(error), f"{type(error).__name__}: {error}\n{output}\n{traceback.format_exc()}"
                ) from error
            finally:
                if self._writes_files:
                    require_no_line(Path(calculator.directory), self._settings.failure_lines, started)
            results: dict[str, Any] = dict(calculator.results)
        missing = required - set(results)
        if missing:
            raise RuntimeError(f"the calculator returned {sorted(results)}, expected {sorted(missing)} too")
        energy: Any = results.get("free_energy", results["energy"])
        stress = _voigt(results["stress"]) if "stress" in required else None
        return Numbers(float(energy), results["forces"], stress, _moments(results, len(atoms)))

    def _of_the_frame(self, atoms: Atoms) -> dict[str, Any]:
        """Return the arguments for the frame's own charge and multiplicity."""
        names = self._settings.charge_argument, self._settings.multiplicity_argument
        if not any(names):
            return {}
        return {name: value for name, value in zip(names, charge_and_multiplicity(atoms), strict=True) if name}

    @contextmanager
    def _ready(self, changed: Mapping[str, Any] | None = None) -> Iterator[Any]:
        """Yield the loaded calculator, or a new one if it needs other arguments or its own folder."""
        arguments = {**self._arguments, **(changed or {})}
        if self._writes_files and "directory" not in arguments:
            with TemporaryDirectory(prefix="label-") as folder:
                yield self._class(directory=folder, **arguments)
            return
        if arguments != self._arguments:
            yield self._class(**arguments)
            return
        if self._calculator is None:
            self._calculator = self._class(**self._arguments)
        yield self._calculator

    def _implemented_properties(self, path: str) -> frozenset[str]:
        declared = getattr(self._class, "implemented_properties", None)
        if isinstance(declared, (list, tuple)) and declared:
            return frozenset(declared)
        # Some calculators (SevenNet's) list their properties only on the instance.
        try:
            with self._ready() as calculator:
                return frozenset(calculator.implemented_properties)
        except Exception as error:
            raise EngineSettingsError(
                f"received the calculator {path} with arguments {self._arguments}, which it refused: {error}"
            ) from error


def require_no_line(folder: Path, lines: Collection[str], since: float) -> None:
    """Check that no file of a calculation contains a line that reports failed convergence.

    Raises:
        UnconvergedError: with the line found and the last lines of its file.
    """
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.stat().st_mtime < since - CLOCK_STEP_S or path.stat().st_size > OUTPUT_BYTES:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found = next((line for line in lines if line in text), None)
        if found is not None:
            raise UnconvergedError(f"SCF not converged: {path.name} contains {found!r}\n{last_lines(text)}")


def _spread_charge(atoms: Atoms) -> None:
    """Set initial charges from the total charge, for calculators that follow ASE's convention of summing them."""
    charge = atoms.info.get("charge", 0)
    if charge and not atoms.has("initial_charges"):
        atoms.set_initial_charges([charge / len(atoms)] * len(atoms))


def _voigt(stress: Any) -> NDArray[np.float64]:
    """Return a stress in Voigt order; ASE allows calculators to return the full matrix too."""
    array = np.asarray(stress, dtype=np.float64)
    return full_3x3_to_voigt_6_stress(array) if array.shape == (3, 3) else array


def _moments(results: Mapping[str, Any], count: int) -> NDArray[np.float64] | None:
    moments = np.asarray(results.get("magmoms", ()), dtype=np.float64)
    return moments if moments.shape == (count,) and moments.any() else None


def _calculator_class(path: str) -> Any:
    module_name, _, name = path.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in path.split(".")):
        raise EngineSettingsError(
            f"received the calculator {path!r}, expected an import path such as ase.calculators.emt.EMT"
        )
    remedy = "correct the path or install its package"
    with reading(lambda why: EngineNotInstalledError(f"the calculator {path} cannot be imported ({why}); {remedy}")):
        module = importlib.import_module(module_name)  # runs the module's code, which may raise anything
    found = getattr(module, name, None)
    if not (inspect.isclass(found) and issubclass(found, BaseCalculator)):
        what = "nothing of that name" if found is None else f"{type(found).__name__} {found!r}"
        raise EngineSettingsError(
            f"received the calculator {path}, which names {what}; expected a subclass of "
            "ase.calculators.calculator.Calculator"
        )
    return found


def _check_arguments(calculator: Any, settings: ASECalculatorSettings) -> None:
    try:
        frame = {name: 0 for name in (settings.charge_argument, settings.multiplicity_argument) if name}
        for changed in ({}, *(strategy.arguments for strategy in settings.ladder)):
            inspect.signature(calculator).bind(**{**settings.arguments, **frame, **changed})
    except TypeError as error:
        raise EngineSettingsError(
            f"received arguments {sorted(settings.arguments)} for the calculator {settings.calculator}: {error}; "
            f"expected {inspect.signature(calculator)}"
        ) from error


def _level_of_theory(settings: ASECalculatorSettings) -> LevelOfTheory:
    arguments = {key: _argument_identity(key, value) for key, value in settings.arguments.items()}
    call = ", ".join(f"{key}={value}" for key, value in settings.arguments.items())
    return LevelOfTheory(
        code="ase",
        summary=f"{settings.calculator}({call})",
        functional=settings.functional,
        dispersion=settings.dispersion,
        more={
            "calculator": settings.calculator,
            "arguments": arguments,
            # Only where they are set, so that the fingerprint of other calculators does not change.
            **({"charge_argument": settings.charge_argument} if settings.charge_argument else {}),
            **({"multiplicity_argument": settings.multiplicity_argument} if settings.multiplicity_argument else {}),
        },
    )


def _argument_identity(key: str, value: Any) -> Any:
    """Replace the path of a model file by the hash of its content: a retrained model is another level of theory.

    Only arguments with the name of a model count: other files may be logs that change with every label.
    """
    is_model = any(name in key.lower() for name in MODEL_ARGUMENT_NAMES)
    if not (is_model and isinstance(value, str) and Path(value).expanduser().is_file()):
        return value
    remedy = "correct the path or its permissions"
    with (
        reading(lambda why: EngineSettingsError(f"{key}: {value} cannot be read ({why}); {remedy}")),
        Path(value).expanduser().open("rb") as file,
    ):
        return {"file_sha256": hashlib.file_digest(file, "sha256").hexdigest()}
