"""Semi-empirical tight binding with tblite: molecules and large cells, energy, forces and stress."""

from collections.abc import Collection
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree, kB
from numpy.typing import NDArray
from tblite.exceptions import TBLiteRuntimeError
from tblite.interface import Calculator, Result

from dft_interfaces.engines.calculation import Engine, Numbers, UnconvergedError
from dft_interfaces.label import LevelOfTheory
from dft_interfaces.settings.tblite import TBLiteRetryStrategy, TBLiteSettings
from dft_interfaces.structure import CannotCalculateError, charge_and_multiplicity

HEAVIEST = 86
"""Atomic number of radon, the last element of the three parametrisations."""

WHOLE_ELECTRONS = 1e-3
"""Tolerance, in electrons, within which occupations and charges sum to whole numbers."""

_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


class TBLiteEngine(Engine[TBLiteSettings, TBLiteRetryStrategy]):
    """Extended tight binding; energies are free energies at the electronic temperature.

    The multiplicity sets how many orbitals are singly occupied; no energy of spin polarisation is added.
    """

    def __init__(self, settings: TBLiteSettings) -> None:
        super().__init__(settings, _level_of_theory(settings))

    def estimate_s(self, atoms: Atoms) -> float:
        """See ``DFTEngine.estimate_s``: 2 ms for water, 5 s for 64 periodic silicon atoms."""
        power = 3.0 if atoms.pbc.any() else 2.0
        return 0.002 + 2e-5 * float(len(atoms) ** power)

    def unknown_elements(self, symbols: Collection[str]) -> list[str]:
        """Return the elements beyond radon."""
        return [symbol for symbol in sorted(symbols) if Atoms(symbol).numbers[0] > HEAVIEST]

    def _calculate(self, atoms: Atoms, strategy: TBLiteRetryStrategy | None) -> Numbers:
        strategy = strategy or TBLiteRetryStrategy(name="as set")
        charge, multiplicity = charge_and_multiplicity(atoms)
        calculator, start = self._calculator(atoms, strategy), Result()
        if strategy.start_temperature_K is not None:
            calculator.set("temperature", strategy.start_temperature_K * kB / Hartree)
            start = _single_point(calculator, start)
        calculator.set("temperature", self._settings.electronic_temperature_K * kB / Hartree)
        result = _single_point(calculator, start)
        _require_electrons(result, charge, multiplicity)
        return Numbers(
            float(result["energy"]) * Hartree,
            -np.asarray(result["gradient"]) * Hartree / Bohr,
            _stress(np.asarray(result["virial"]), atoms) if atoms.pbc.all() else None,
        )

    def _calculator(self, atoms: Atoms, strategy: TBLiteRetryStrategy) -> Any:
        charge, multiplicity = charge_and_multiplicity(atoms)
        periodic = {"lattice": atoms.cell.array / Bohr, "periodic": atoms.pbc} if atoms.pbc.all() else {}
        calculator = Calculator(
            self._settings.method, atoms.numbers, atoms.positions / Bohr, charge, multiplicity - 1, **periodic
        )
        calculator.set("verbosity", 0)
        calculator.set("accuracy", self._settings.accuracy)
        calculator.set("max-iter", strategy.max_cycles or self._settings.max_cycles)
        if strategy.mixer_damping is not None:
            calculator.set("mixer-damping", strategy.mixer_damping)
        return calculator


def _single_point(calculator: Any, start: Any) -> Any:
    try:
        return calculator.singlepoint(start)
    except TBLiteRuntimeError as error:
        if "not converged" in str(error):
            raise UnconvergedError(str(error)) from error
        raise


def _require_electrons(result: Any, charge: int, multiplicity: int) -> None:
    """Check that the method's orbitals held all electrons: tblite silently drops those that do not fit."""
    held, carried = np.sum(result["orbital-occupations"]), np.sum(result["charges"])
    if abs(carried - charge) > WHOLE_ELECTRONS or multiplicity - 1 > held + WHOLE_ELECTRONS:
        raise CannotCalculateError(
            f"received charge {charge:+d} and spin multiplicity {multiplicity}, which the valence orbitals of xTB "
            f"cannot hold: it calculated {held:.0f} valence electrons and the charge {carried:+.0f}; use engine pyscf"
        )


def _stress(virial: NDArray[np.float64], atoms: Atoms) -> NDArray[np.float64]:
    stress: NDArray[np.float64] = np.array([virial[pair] for pair in _VOIGT]) * Hartree / atoms.cell.volume
    return stress


def _level_of_theory(settings: TBLiteSettings) -> LevelOfTheory:
    return LevelOfTheory(
        code="tblite",
        summary=f"{settings.method}, electronic temperature {settings.electronic_temperature_K:g} K",
        functional=settings.method,
        smearing=f"Fermi-Dirac {settings.electronic_temperature_K:g} K",
        spin="occupations only",
        more={"accuracy": settings.accuracy, "kpoints": "gamma"},
    )
