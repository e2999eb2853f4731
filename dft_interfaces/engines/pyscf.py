"""Molecules with PySCF: Gaussian basis, energy and forces."""

from collections.abc import Collection, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree
from pyscf import gto, lib
from pyscf.lib.exceptions import BasisNotFoundError

from dft_interfaces.engines.calculation import Numbers, labelled, require_no_objection
from dft_interfaces.engines.pyscf_level import (
    basis_functions,
    check_basis,
    core_potentials,
    covers,
    functional,
    level_of_theory,
    no_suggestions,
)
from dft_interfaces.engines.pyscf_scf import KohnSham, Solution
from dft_interfaces.engines.pyscf_spin import SpinFlips, atomic_moments_uB
from dft_interfaces.engines.spin_starts import SAME_STATE_EV, lowest
from dft_interfaces.label import Label
from dft_interfaces.output_tail import EngineLog
from dft_interfaces.settings.pyscf import PySCFRetryStrategy, PySCFSettings
from dft_interfaces.structure import CannotCalculateError, charge_and_multiplicity

LOG_LEVEL = 4  # prints every SCF cycle into the log that a failure quotes

CHEAP_FLIP_EV = 2.5
"""Below this estimate the next multiplicity is calculated too. Among 20 small molecules and atoms in PBE whose next
multiplicity is lower, the highest estimate was 2.0 eV (PH); the closed shell of formaldehyde has 3.5 eV."""

NLC_GRID_FACTOR = (0.15, 1.0, 4.0, 9.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
"""Cost of nonlocal correlation by grid level, against level 1; measured up to level 3."""


@dataclass(frozen=True)
class _AtMultiplicity:
    """The label at one multiplicity (0 if the structure was refused), and the estimated cost of a spin flip."""

    label: Label
    multiplicity: int
    flips: SpinFlips


class PySCFEngine:
    """Restricted or unrestricted Kohn-Sham, depending on the spin state.

    Raises:
        EngineSettingsError: an unknown functional or basis set, or a dispersion that does not fit the functional.
    """

    def __init__(self, settings: PySCFSettings) -> None:
        check_basis(settings.basis)
        self._settings = settings
        self._functional = functional(settings)
        self.name = "pyscf"
        self.properties = frozenset({"energy", "forces"})
        self.level_of_theory = level_of_theory(settings, self._functional)
        self.cores = settings.cores
        self.ladder = settings.ladder

    def label(self, atoms: Atoms, strategy: PySCFRetryStrategy | None = None) -> Label:
        """Calculate one molecule; see ``DFTEngine.label``.

        Where the estimate of a spin flip is low, other multiplicities are calculated too. Without a multiplicity in
        ``atoms.info["spin"]`` the lowest is the label; a stated one is kept, with a remark if another is lower.
        """
        solver = KohnSham(self._settings, self._functional, strategy or PySCFRetryStrategy(name="as set"))
        tried = [self._at_multiplicity(atoms, solver)]
        most = self._settings.multiplicities_tried if self._settings.spin_check_below_eV > 0 else 1
        while len(tried) < most and (multiplicity := _next_multiplicity(tried)) is not None:
            other = atoms.copy()
            other.info["spin"] = multiplicity
            tried.append(self._at_multiplicity(other, solver))
        best = lowest(_label, {str(one.multiplicity): one for one in tried}, "multiplicity")
        return best if atoms.info.get("spin") is None else _as_stated(tried[0], best)

    def estimate_s(self, atoms: Atoms) -> float:
        """See ``DFTEngine.estimate_s``: from water and methanol, def2-SVP to def2-TZVPD, on an ordinary core."""
        functions = sum(basis_functions(self._settings.basis, symbol) for symbol in atoms.symbols)
        seconds = 0.5 + 3e-4 * float(functions**2.2)
        if self._functional.nonlocal_correlation:
            seconds += 0.3 * NLC_GRID_FACTOR[self._settings.nlc_grid_level] * len(atoms) ** 2
        return seconds

    def unknown_elements(self, symbols: Collection[str]) -> list[str]:
        """Return the elements that the basis set does not cover."""
        return [symbol for symbol in sorted(symbols) if not covers(self._settings.basis, symbol)]

    def _at_multiplicity(self, atoms: Atoms, solver: KohnSham) -> _AtMultiplicity:
        solutions: list[Solution] = []

        def calculate(copy: Atoms) -> Numbers:
            require_no_objection(self._settings, copy)
            log = EngineLog()
            # PySCF repeats its warnings on standard error when its log is redirected.
            with lib.with_omp_threads(self.cores), redirect_stderr(log):
                solutions.append(solver.solve(_molecule(copy, self._settings.basis, log)))
                return _numbers(solutions[0])

        label = labelled(atoms, self.level_of_theory, calculate, threads=self.cores)
        if not solutions:
            return _AtMultiplicity(label, 0, SpinFlips())
        return _AtMultiplicity(label, solutions[0].mean_field.mol.spin + 1, solutions[0].flips)


def _numbers(solution: Solution) -> Numbers:
    mean_field = solution.converged()
    gradient = mean_field.nuc_grad_method().kernel()
    return Numbers(
        float(mean_field.e_tot) * Hartree,
        -np.asarray(gradient) * Hartree / Bohr,
        magnetic_moments_uB=atomic_moments_uB(mean_field),
        remark="; ".join(solution.remarks),
    )


def _molecule(atoms: Atoms, basis: str, log: EngineLog) -> Any:
    charge, multiplicity = charge_and_multiplicity(atoms)
    molecule = gto.Mole()
    # Positions in Bohr by ASE's constant: forces are then exactly the derivative in ASE's Å.
    molecule.atom = list(zip(atoms.symbols, (atoms.positions / Bohr).tolist(), strict=True))
    molecule.unit = "Bohr"
    molecule.charge, molecule.spin = charge, multiplicity - 1
    molecule.basis, molecule.ecp = basis, core_potentials(basis, set(atoms.symbols))
    molecule.stdout, molecule.verbose = log, LOG_LEVEL
    try:
        with no_suggestions():
            molecule.build(dump_input=False, parse_arg=False)
    except BasisNotFoundError as error:
        raise CannotCalculateError(
            f"basis {basis} does not cover all of {sorted(set(atoms.symbols))}: {error}; choose another basis"
        ) from error
    return molecule


def _next_multiplicity(tried: Sequence[_AtMultiplicity]) -> int | None:
    """Return a multiplicity next to the lowest so far that may be lower, None if there is none."""
    best = min(tried, key=_energy_eV)
    likely = [(best.flips.up_eV, best.multiplicity + 2), (best.flips.down_eV, best.multiplicity - 2)]
    done = {one.multiplicity for one in tried}
    for flip_eV, multiplicity in sorted(likely):
        if flip_eV < CHEAP_FLIP_EV and multiplicity > 0 and multiplicity not in done:
            return multiplicity
    return None


def _as_stated(stated: _AtMultiplicity, best: Label) -> Label:
    """Return the label at the stated multiplicity, with a remark if another is lower."""
    if stated.label.energy_eV is None or best.energy_eV is None:
        return replace(stated.label, cost_s=best.cost_s, attempts=best.attempts)
    lower_eV = stated.label.energy_eV - best.energy_eV
    if lower_eV < SAME_STATE_EV:
        return best
    kept = min((attempt for attempt in best.attempts if attempt.energy_eV == best.energy_eV), key=str)
    remark = f"multiplicity {stated.multiplicity} as stated, but {kept.what} is {lower_eV:.3f} eV lower"
    message = "; ".join(filter(None, [remark, stated.label.message]))
    return replace(stated.label, cost_s=best.cost_s, attempts=best.attempts, message=message)


def _label(one: _AtMultiplicity) -> Label:
    return one.label


def _energy_eV(one: _AtMultiplicity) -> float:
    return np.inf if one.label.energy_eV is None else one.label.energy_eV
