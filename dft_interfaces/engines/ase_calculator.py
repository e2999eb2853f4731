"""Any ASE calculator by import path: other codes, or a machine-learned teacher in place of DFT."""

import hashlib
import importlib
import inspect
import io
from collections.abc import Collection, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ase import Atoms
from ase.calculators import emt
from ase.calculators.calculator import BaseCalculator, FileIOCalculator, SCFError, all_changes
from ase.calculators.genericfileio import GenericFileIOCalculator

from dft_interfaces.engines.calculation import Numbers, UnconvergedError, labelled
from dft_interfaces.errors import EngineNotInstalledError, EngineSettingsError
from dft_interfaces.label import Label, LevelOfTheory
from dft_interfaces.settings import ASECalculatorSettings

MODEL_WORDS = ("model", "checkpoint", "potential", "weights")
PROPERTIES = frozenset({"energy", "forces", "stress"})


class ASECalculatorEngine:
    """Labels from a calculator that the user's own config names.

    The energy is the free energy where the calculator has one: forces are its derivative.

    Args:
        settings: the engine's block of the config.

    Raises:
        EngineSettingsError: the path names no calculator class, its arguments do not fit, or it has no forces.
        EngineNotInstalledError: the path's library cannot be imported.
    """

    def __init__(self, settings: ASECalculatorSettings) -> None:
        self._arguments = dict(settings.arguments)
        self._class = _calculator_class(settings.calculator)
        _check_arguments(self._class, settings)
        self._writes_files = issubclass(self._class, (FileIOCalculator, GenericFileIOCalculator))
        self._calculator: Any = None
        self._implemented = self._implemented_properties(settings.calculator)
        self.name = "ase"
        self.properties = PROPERTIES & self._implemented
        self.level_of_theory = _level_of_theory(settings)
        if not {"energy", "forces"} <= self.properties:
            raise EngineSettingsError(
                f"received the calculator {settings.calculator} with the properties {sorted(self._implemented)}, "
                "expected energy and forces at least"
            )

    def label(self, atoms: Atoms) -> Label:
        """Calculate one structure; see ``DFTEngine.label``."""
        return labelled(atoms, self.level_of_theory, self._calculate)

    def _calculate(self, atoms: Atoms) -> Numbers:
        wanted = self.properties if atoms.pbc.all() else self.properties - {"stress"}
        with self._ready() as calculator, redirect_stdout(io.StringIO()):
            if hasattr(calculator, "reset"):
                calculator.reset()
            try:
                # One request for everything: asked one by one, some codes would run once for each property.
                calculator.calculate(atoms, sorted(wanted), list(all_changes))
            except SCFError as error:
                raise UnconvergedError(f"SCF not converged: {error}") from error
            results: dict[str, Any] = dict(calculator.results)
        missing = wanted - set(results)
        if missing:
            raise RuntimeError(f"the calculator returned {sorted(results)}, expected {sorted(missing)} too")
        energy: Any = results.get("free_energy", results["energy"])
        return Numbers(float(energy), results["forces"], results["stress"] if "stress" in wanted else None)

    @contextmanager
    def _ready(self) -> Iterator[Any]:
        """Yield the loaded calculator, or for codes that write files a fresh one in a folder of its own."""
        if self._writes_files and "directory" not in self._arguments:
            with TemporaryDirectory(prefix="label-") as folder:
                yield self._class(directory=folder, **self._arguments)
            return
        if self._calculator is None:
            self._calculator = self._class(**self._arguments)
        yield self._calculator

    def _implemented_properties(self, path: str) -> frozenset[str]:
        declared = getattr(self._class, "implemented_properties", None)
        if isinstance(declared, (list, tuple)) and declared:
            return frozenset(declared)
        # Some calculators (SevenNet's) know what they can do only once they are made.
        try:
            with self._ready() as calculator:
                return frozenset(calculator.implemented_properties)
        except Exception as error:
            raise EngineSettingsError(
                f"received the calculator {path} with arguments {self._arguments}, which it refused: {error}"
            ) from error


def _calculator_class(path: str) -> Any:
    module_name, _, name = path.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in path.split(".")):
        raise EngineSettingsError(
            f"received the calculator {path!r}, expected an import path such as ase.calculators.emt.EMT"
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise EngineNotInstalledError(
            f"the calculator {path} cannot be imported ({error}); correct the path or install its package"
        ) from error
    found = getattr(module, name, None)
    if not (inspect.isclass(found) and issubclass(found, BaseCalculator)):
        what = "nothing of that name" if found is None else f"{type(found).__name__} {found!r}"
        raise EngineSettingsError(
            f"received the calculator {path}, which names {what}; expected a subclass of "
            "ase.calculators.calculator.Calculator"
        )
    return found


def unknown_elements(settings: ASECalculatorSettings, symbols: Collection[str]) -> list[str]:
    """Return the elements that a calculator lacks; only EMT's are known without asking it to calculate."""
    known = set(emt.parameters) if issubclass(_calculator_class(settings.calculator), emt.EMT) else set(symbols)
    return sorted(set(symbols) - known)


def _check_arguments(calculator: Any, settings: ASECalculatorSettings) -> None:
    try:
        inspect.signature(calculator).bind(**settings.arguments)
    except TypeError as error:
        raise EngineSettingsError(
            f"received arguments {sorted(settings.arguments)} for the calculator {settings.calculator}: {error}; "
            f"expected {inspect.signature(calculator)}"
        ) from error


def _level_of_theory(settings: ASECalculatorSettings) -> LevelOfTheory:
    arguments = {key: _argument_identity(key, value) for key, value in settings.arguments.items()}
    words = ", ".join(f"{key}={value}" for key, value in settings.arguments.items())
    return LevelOfTheory(
        code="ase",
        summary=f"{settings.calculator}({words})",
        parameters={"calculator": settings.calculator, "arguments": arguments},
    )


def _argument_identity(key: str, value: Any) -> Any:
    """Replace the path of a model file by the hash of what it holds: a model that was retrained is another level.

    Only arguments whose name says that they name a model: other files may be logs that change with every label.
    """
    names_a_model = any(word in key.lower() for word in MODEL_WORDS)
    if not (names_a_model and isinstance(value, str) and Path(value).expanduser().is_file()):
        return value
    with Path(value).expanduser().open("rb") as file:
        return {"file_sha256": hashlib.file_digest(file, "sha256").hexdigest()}
