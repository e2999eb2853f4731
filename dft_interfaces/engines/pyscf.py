"""Molecules with PySCF: Gaussian basis, energy and forces."""

import io
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree
from pyscf import dft, gto, lib
from pyscf.lib.exceptions import BasisNotFoundError

from dft_interfaces.engines.calculation import Numbers, UnconvergedError, labelled, last_lines
from dft_interfaces.errors import EngineSettingsError
from dft_interfaces.label import Label, LevelOfTheory
from dft_interfaces.settings import PySCFSettings
from dft_interfaces.structure import CannotCalculateError, charge_and_multiplicity

ENERGY_TOLERANCE_HARTREE = 1e-9
LOG_LEVEL = 4  # prints every SCF cycle, into the text that a failure quotes


class PySCFEngine:
    """Restricted or unrestricted Kohn-Sham, chosen by the spin multiplicity.

    Args:
        settings: the engine's block of the config.

    Raises:
        EngineSettingsError: an unknown functional or basis set.
    """

    def __init__(self, settings: PySCFSettings) -> None:
        _check_functional(settings.xc)
        _check_basis(settings.basis)
        self._settings = settings
        self.name = "pyscf"
        self.properties = frozenset({"energy", "forces"})
        self.level_of_theory = _level_of_theory(settings)

    def label(self, atoms: Atoms) -> Label:
        """Calculate one molecule; see ``DFTEngine.label``."""
        return labelled(atoms, self.level_of_theory, self._calculate)

    def _calculate(self, atoms: Atoms) -> Numbers:
        if atoms.pbc.any():
            raise CannotCalculateError(
                f"received a periodic structure (pbc {atoms.pbc.tolist()}); engine pyscf is for molecules: set pbc "
                "to False, or use engine gpaw for crystals"
            )
        log = io.StringIO()
        # PySCF repeats its warnings on the error stream when its log goes elsewhere.
        with lib.with_omp_threads(1), redirect_stderr(log):
            mean_field = self._mean_field(_molecule(atoms, self._settings.basis, log))
            energy = mean_field.kernel()
            if not mean_field.converged:
                raise UnconvergedError(
                    f"SCF not converged within {self._settings.max_cycles} cycles\n{last_lines(log.getvalue())}"
                )
            gradient = mean_field.nuc_grad_method().kernel()
        return Numbers(float(energy) * Hartree, -np.asarray(gradient) * Hartree / Bohr)

    def _mean_field(self, molecule: Any) -> Any:
        mean_field = dft.RKS(molecule) if molecule.spin == 0 else dft.UKS(molecule)
        mean_field.xc = self._settings.xc
        if self._settings.density_fit:
            mean_field = mean_field.density_fit()
        mean_field.grids.level = self._settings.grid_level
        mean_field.conv_tol = ENERGY_TOLERANCE_HARTREE
        mean_field.max_cycle = self._settings.max_cycles
        mean_field.chkfile = None
        return mean_field


def _molecule(atoms: Atoms, basis: str, log: io.StringIO) -> Any:
    charge, multiplicity = charge_and_multiplicity(atoms)
    molecule = gto.Mole()
    # Positions go in as Bohr by ASE's constant: forces are then the derivative in ASE's Å to the last digit.
    molecule.atom = list(zip(atoms.symbols, (atoms.positions / Bohr).tolist(), strict=True))
    molecule.unit = "Bohr"
    molecule.charge, molecule.spin = charge, multiplicity - 1
    molecule.basis, molecule.ecp = basis, _core_potentials(basis, set(atoms.symbols))
    molecule.stdout, molecule.verbose = log, LOG_LEVEL
    try:
        with _no_adverts():
            molecule.build(dump_input=False, parse_arg=False)
    except BasisNotFoundError as error:
        raise CannotCalculateError(
            f"basis {basis} does not cover all of {sorted(set(atoms.symbols))}: {error}; choose another basis"
        ) from error
    return molecule


def _core_potentials(basis: str, elements: set[str]) -> dict[str, Any]:
    """Return the basis set's own core potentials: without them def2 bases are wrong from Rb on, silently."""
    with _no_adverts():
        loaded = {element: gto.basis.load_ecp(basis, element) for element in sorted(elements)}
    return {element: potential for element, potential in loaded.items() if potential}


@contextmanager
def _no_adverts() -> Iterator[None]:
    """Silence PySCF's suggestions to install another package for what it does not know."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        yield


def _check_functional(xc: str) -> None:
    try:
        dft.libxc.parse_xc(xc)
    except (KeyError, ValueError) as error:
        raise EngineSettingsError(
            f"received xc {xc!r}, expected a functional in PySCF's spelling such as pbe, r2scan or b3lyp: {error}"
        ) from error


def _check_basis(basis: str) -> None:
    if any(_covers(basis, element) for element in ("H", "C", "Si", "Cu", "Au")):
        return
    raise EngineSettingsError(
        f"received basis {basis!r}, expected a basis set that PySCF holds such as def2-svp, def2-tzvp or cc-pvdz"
    )


def unknown_elements(settings: PySCFSettings, symbols: Collection[str]) -> list[str]:
    """Return the elements that the basis set does not cover."""
    return [symbol for symbol in sorted(symbols) if not _covers(settings.basis, symbol)]


def _covers(basis: str, symbol: str) -> bool:
    with _no_adverts():
        try:
            gto.basis.load(basis, symbol)
        except (BasisNotFoundError, KeyError):
            return False
    return True


def _level_of_theory(settings: PySCFSettings) -> LevelOfTheory:
    xc, basis = settings.xc.lower(), settings.basis.lower()
    fit = ", density fitting" if settings.density_fit else ""
    return LevelOfTheory(
        code="pyscf",
        summary=f"{xc}/{basis}{fit}, grid level {settings.grid_level}",
        parameters={
            "xc": xc,
            "basis": basis,
            "core_potentials": "of the basis",
            "density_fit": settings.density_fit,
            "grid_level": settings.grid_level,
            "energy_tolerance_hartree": ENERGY_TOLERANCE_HARTREE,
        },
    )
