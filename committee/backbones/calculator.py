"""Any ASE calculator as a foundation, closed models included, with features from an open model."""

import hashlib
import inspect
import io
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, FileIOCalculator, all_changes
from ase.calculators.genericfileio import GenericFileIOCalculator
from ase.data import atomic_numbers
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from committee.backbones.contract import Backbone, Evaluation, device_of, twice_differentiable
from committee.backbones.named_objects import call, identity, resolve
from committee.errors import FoundationError, FoundationEvaluationError
from committee.foreign import reading
from committee.settings import CalculatorSettings
from committee.structures import check_structures

Array = NDArray[np.float64]


def parts(calculator: Any) -> list[Any]:
    """Return the parts of a sum of calculators, at any depth; the calculator itself if it is no sum."""
    mixer = getattr(calculator, "mixer", None)
    return [calculator] if mixer is None else [part for inner in mixer.calcs for part in parts(inner)]


def forget(calculator: Any) -> None:
    """Clear the results of a sum's parts: they do not detect a changed charge or spin in ``atoms.info``."""
    mixer = getattr(calculator, "mixer", None)
    for part in () if mixer is None else mixer.calcs:
        part.atoms, part.results = None, {}
        forget(part)


def free_energy_eV(calculator: Any) -> float:
    """Return the energy of the last calculation whose derivative the forces are.

    ASE's sum has a free energy only if all parts have one; here the energy replaces it for the other parts.

    Raises:
        KeyError: a part has no energy.
    """
    mixer = getattr(calculator, "mixer", None)
    if mixer is not None:
        return float(
            sum(weight * free_energy_eV(part) for weight, part in zip(mixer.weights, mixer.calcs, strict=True))
        )
    results = calculator.results
    return float(results["free_energy"] if "free_energy" in results else results["energy"])


@dataclass(frozen=True)
class _Results:
    """The calculator's results for one frame: energy in eV, forces (n, 3), stress (3, 3), NaN if it has none."""

    energy: float
    forces: Array
    stress: Array


class CalculatorBackbone:
    """Energy, forces and stress of an ASE calculator, in float64; features of an open foundation.

    The energy is the free energy where the calculator has one: forces are its derivative. Stress is NaN where the
    calculator has none and for frames that are not periodic in three directions. The calculator evaluates the frames
    one by one, as copies without constraints, wrapped into their cells, each with ``all_changes``. The same applies to
    each part of a sum of calculators.
    """

    def __init__(self, settings: CalculatorSettings, calculator: Any, features: Backbone) -> None:
        self.name = f"calculator:{settings.import_path}+{features.name}"
        self.fingerprint = _fingerprint(settings, features)
        self.elements = _elements(settings, features)
        self.cutoff_A = features.cutoff_A
        self.feature_size = features.feature_size
        self.level_of_theory = settings.level_of_theory or f"as {settings.import_path}({_keywords(settings.arguments)})"
        self.dtype = features.dtype
        self.device = device_of(features)
        self.execution_mode = getattr(features, "execution_mode", "")
        self._settings = settings
        self._calculator = calculator
        self._features = features
        self._stressed = "stress" in calculator.implemented_properties
        self._writers = [part for part in parts(calculator) if _writes_into_the_current_folder(part)]

    def evaluate(self, frames: Sequence[Atoms]) -> Evaluation:
        """See :class:`committee.backbones.contract.Backbone`.

        Raises:
            FoundationEvaluationError: the calculator fails on a frame, lacks a result, or returns NaN.
        """
        check_structures(frames, self.elements)
        results = [self._calculate(index, atoms) for index, atoms in enumerate(frames)]
        evaluation = self._features.evaluate(frames)
        device = evaluation.features.device
        return replace(
            evaluation,
            energy=torch.tensor([result.energy for result in results], dtype=torch.float64, device=device),
            closed_forces=torch.from_numpy(np.concatenate([result.forces for result in results])).to(device),
            closed_stress=torch.from_numpy(np.stack([result.stress for result in results])).to(device),
        )

    def to(self, dtype: torch.dtype) -> "CalculatorBackbone":
        """Return the same foundation with features in another precision; the calculator keeps its own."""
        if dtype == self.dtype:
            return self
        return CalculatorBackbone(self._settings, self._calculator, self._features.to(dtype))

    @property
    def twice_differentiable(self) -> "CalculatorBackbone":
        """See :func:`committee.backbones.contract.twice_differentiable`."""
        general = copy(self)
        general._features = twice_differentiable(self._features)
        return general

    def _calculate(self, index: int, atoms: Atoms) -> _Results:
        # Forces first: a sum requests one property after another from its parts, and forces usually include the energy.
        properties = ["forces", "energy"] + (["stress"] if self._stressed and atoms.pbc.all() else [])
        copied = atoms.copy()
        copied.set_constraint()  # codes that read an input file would set the forces on fixed atoms to zero
        copied.wrap()  # some servers refuse atoms far outside the cell, and trajectories drift
        try:
            with self._own_folders():
                forget(self._calculator)
                # One call for all properties: some codes would run once for each property otherwise.
                self._calculator.calculate(copied, properties, list(all_changes))
            results = dict(self._calculator.results)
            if "energy" in results:
                results["free_energy"] = free_energy_eV(self._calculator)
        except Exception as error:
            raise self._error(
                index,
                atoms,
                f"it failed: {type(error).__name__}: {error}. "
                "Leave the structure out, or choose a foundation that can evaluate it.",
            ) from error
        missing = sorted(set(properties) - set(results))
        if missing:
            raise self._error(index, atoms, f"it returned no {', '.join(missing)}.")
        return self._checked(index, atoms, results, stressed="stress" in properties)

    def _checked(self, index: int, atoms: Atoms, results: dict[str, Any], *, stressed: bool) -> _Results:
        remedy = "leave the structure out, or choose a foundation that can evaluate it"
        with reading("its result", remedy, lambda message: self._error(index, atoms, f"{message}.")):
            checked = _Results(
                energy=float(results["free_energy"]),
                forces=np.array(results["forces"], dtype=np.float64),
                stress=_full_stress(results["stress"]) if stressed else np.full((3, 3), np.nan),
            )
        if checked.forces.shape != (len(atoms), 3):
            raise self._error(
                index, atoms, f"it returned forces of shape {checked.forces.shape}, expected {len(atoms), 3}."
            )
        bad = [
            name
            for name in ("energy", "forces", *(["stress"] if stressed else []))
            if not np.isfinite(getattr(checked, name)).all()
        ]
        if bad:
            raise self._error(index, atoms, f"it returned NaN or infinite {', '.join(bad)}.")
        return checked

    def _error(self, index: int, atoms: Atoms, reason: str) -> FoundationEvaluationError:
        calculator = f"the calculator {self._settings.import_path}"
        return FoundationEvaluationError(calculator, index, str(atoms.symbols), reason)

    @contextmanager
    def _own_folders(self) -> Iterator[None]:
        """Run every code that writes files in a temporary folder of its own."""
        with ExitStack() as stack:
            for writer in self._writers:
                writer.directory = stack.enter_context(TemporaryDirectory(prefix="foundation-"))
            yield


def _writes_into_the_current_folder(calculator: Any) -> bool:
    """Whether a calculator calls a code that writes files and has no folder for them."""
    writes = isinstance(calculator, FileIOCalculator | GenericFileIOCalculator)
    return writes and Path(calculator.directory) == Path()


def load_calculator(settings: CalculatorSettings, features: Backbone) -> CalculatorBackbone:
    """Make the calculator of the user's own config.

    Raises:
        FoundationError: the path names no ASE calculator class, its library cannot be imported, it refuses its
            arguments, or it has no energy or forces.
    """
    path = settings.import_path
    found = resolve(path)
    if not (inspect.isclass(found) and issubclass(found, BaseCalculator)):
        raise FoundationError(
            f"foundation.import_path: {path} is {found!r}, expected a subclass of "
            "ase.calculators.calculator.Calculator; its constructor's arguments go into arguments"
        )
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():  # some print a banner
        warnings.filterwarnings("ignore", message="No tensor product accelerator")  # SevenNet has none for CPUs
        calculator = call(path, found, settings.arguments)
    lacking = {"energy", "forces"} - set(calculator.implemented_properties)
    if lacking:
        raise FoundationError(
            f"foundation.import_path: {path} provides {sorted(calculator.implemented_properties)}, "
            f"but a foundation needs {' and '.join(sorted(lacking))} too"
        )
    return CalculatorBackbone(settings, calculator, features)


def _full_stress(stress: Any) -> Array:
    """(6,), (9,) or (3, 3) -> (3, 3)."""
    values = np.array(stress, dtype=np.float64)
    full: Array = voigt_6_to_full_3x3_stress(values) if values.shape == (6,) else values.reshape(3, 3)
    return full


def _elements(settings: CalculatorSettings, features: Backbone) -> frozenset[int]:
    if not settings.elements:
        return features.elements
    chosen = frozenset(atomic_numbers[symbol] for symbol in settings.elements)
    unknown = [symbol for symbol in settings.elements if atomic_numbers[symbol] not in features.elements]
    if unknown:
        raise FoundationError(
            f"foundation.elements: {', '.join(unknown)} not covered by {features.name}, which provides the features; "
            "remove them or choose other features"
        )
    return chosen


def _fingerprint(settings: CalculatorSettings, features: Backbone) -> str:
    parts = {"calculator": identity(settings.import_path, settings.arguments), "features": features.fingerprint}
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _keywords(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in arguments.items())
