"""Find the self-consistent solution of one molecule and test its stability."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.units import Hartree
from pyscf import dft
from pyscf.scf.stability import uhf_internal

from dft_interfaces.engines.calculation import UnconvergedError
from dft_interfaces.engines.pyscf_level import ENERGY_TOLERANCE_HARTREE, Functional
from dft_interfaces.engines.pyscf_spin import SpinFlips, contamination_remark, spin_flips
from dft_interfaces.settings.pyscf import PySCFRetryStrategy, PySCFSettings

DAMPED_CYCLES = 8
"""Cycles before DIIS starts; PySCF applies damping only to those."""

MAX_DESCENTS = 5
"""Largest number of restarts from an unstable solution."""

SAME_SOLUTION_HARTREE = 1e-5
"""Energies closer than this are one solution: freely rotating orbitals of an open shell give noise of this size."""

POLARISED = 1e-3
"""⟨S²⟩ above which a singlet counts as spin-polarised."""

STABILITY_TOLERANCE = 1e-3
"""Residual of the lowest eigenvector of the orbital Hessian; only the sign of its eigenvalue is needed."""


@dataclass(frozen=True)
class Solution:
    """A self-consistent solution."""

    mean_field: Any
    flips: SpinFlips
    remarks: tuple[str, ...] = ()

    def converged(self) -> Any:
        """Return the mean field.

        Raises:
            UnconvergedError: it did not converge (PySCF itself raises nothing); with the last lines of its log.
        """
        if not self.mean_field.converged:
            log = self.mean_field.mol.stdout.last_lines()
            raise UnconvergedError(f"SCF not converged within {self.mean_field.max_cycle} cycles\n{log}")
        return self.mean_field


@dataclass(frozen=True)
class KohnSham:
    """Solves the Kohn-Sham equations of the settings with a retry strategy."""

    settings: PySCFSettings
    functional: Functional
    strategy: PySCFRetryStrategy

    def solve(self, molecule: Any) -> Solution:
        """Return the lowest solution found, converged or not.

        Every open shell, and every closed shell that could have a lower spin-polarised solution, is tested for
        stability. An unstable solution is followed along its instability until the solution is stable.
        """
        if molecule.spin:
            open_shell, remarks = self._stable(self._run(dft.UKS(molecule)))
            return Solution(open_shell, spin_flips(open_shell), remarks)
        closed_shell = self._run(dft.RKS(molecule))
        flips = spin_flips(closed_shell)
        if flips.up_eV >= self.settings.spin_check_below_eV:
            return Solution(closed_shell, flips)
        singlet, remarks = self._lower_singlet(closed_shell)
        # The orbitals of an unconverged solution may overestimate the cost of a spin flip.
        return Solution(singlet, spin_flips(singlet) if singlet.converged else flips, remarks)

    def _lower_singlet(self, closed_shell: Any) -> tuple[Any, tuple[str, ...]]:
        """Return the closed shell if it is stable, else the spin-polarised singlet below it."""
        # A closed shell often fails to converge because it is unstable; its last orbitals still show the direction.
        orbitals, stable = _triplet_stability(closed_shell)
        if stable and closed_shell.converged:
            return closed_shell, ()
        # Without a start PySCF's own guess for a singlet breaks the symmetry between the atoms.
        start = None if stable else np.array([closed_shell.make_rdm1(one, closed_shell.mo_occ) / 2 for one in orbitals])
        singlet, remarks = self._stable(self._run(dft.UKS(closed_shell.mol), start))
        if not closed_shell.converged:
            return singlet, (*_polarised_remark(singlet, "the closed shell did not converge"), *remarks)
        lower = closed_shell.e_tot - singlet.e_tot
        if lower < SAME_SOLUTION_HARTREE:
            return closed_shell, ()
        return singlet, (*_polarised_remark(singlet, f"{lower * Hartree:.3f} eV below the closed shell"), *remarks)

    def _stable(self, mean_field: Any) -> tuple[Any, tuple[str, ...]]:
        """Follow the instabilities of an unrestricted solution until it is stable."""
        if self.settings.spin_check_below_eV == 0 or not _can_rotate(mean_field):
            return mean_field, ()
        first, before, descents = mean_field.e_tot, np.inf, 0
        while mean_field.converged and descents < MAX_DESCENTS and before - mean_field.e_tot > SAME_SOLUTION_HARTREE:
            before = mean_field.e_tot
            # Without symmetry: a start that is the same for both spins would never leave a closed shell.
            orbitals, stable = uhf_internal(
                mean_field, with_symmetry=False, return_status=True, nroots=1, tol=STABILITY_TOLERANCE
            )
            if stable:
                break
            mean_field.kernel(mean_field.make_rdm1(orbitals, mean_field.mo_occ))
            descents += 1
        remarks = [contamination_remark(mean_field)]
        if (lower := (first - mean_field.e_tot)) > SAME_SOLUTION_HARTREE:
            remarks.append(f"left an unstable solution {lower * Hartree:.3f} eV higher")
        return mean_field, tuple(filter(None, remarks))

    def _run(self, mean_field: Any, density: Any = None) -> Any:
        """Iterate to self-consistency from a density, by default the retry strategy's warm start or PySCF's guess."""
        mean_field = self._described(mean_field)
        if density is None and self.strategy.start_smearing_eV is not None:
            warm = mean_field.smearing(self.strategy.start_smearing_eV / Hartree, method="fermi", fix_spin=True)
            warm.kernel()
            density = warm.make_rdm1()
        if self.strategy.newton:
            mean_field = mean_field.newton()
        mean_field.kernel(density)
        return mean_field

    def _described(self, mean_field: Any) -> Any:
        settings, strategy = self.settings, self.strategy
        _close_checkpoint(mean_field)
        mean_field.xc, mean_field.nlc = self.functional.xc, self.functional.nlc
        mean_field.disp = self.functional.dispersion
        if settings.density_fit:
            mean_field = mean_field.density_fit()
        mean_field.grids.level = settings.grid_level
        mean_field.nlcgrids.level = settings.nlc_grid_level
        mean_field.conv_tol = ENERGY_TOLERANCE_HARTREE
        mean_field.max_cycle = strategy.max_cycles or settings.max_cycles
        mean_field.level_shift = strategy.level_shift_hartree or 0.0
        if strategy.damping:
            mean_field.damp, mean_field.diis_start_cycle = strategy.damping, DAMPED_CYCLES
        return mean_field


def _close_checkpoint(mean_field: Any) -> None:
    """Close the temporary file that PySCF opens for every calculation and leaves to the garbage collector."""
    mean_field._chkfile.close()
    mean_field.chkfile = mean_field._chkfile = None


def _polarised_remark(singlet: Any, what: str) -> tuple[str, ...]:
    square, _ = singlet.spin_square()
    return (f"spin-polarised singlet: {what}",) if square > POLARISED else ()


def _triplet_stability(closed_shell: Any) -> tuple[Any, bool]:
    """Return both spins' orbitals towards a lower spin-polarised solution, and whether the closed shell is stable."""
    _, orbitals, _, stable = closed_shell.stability(
        internal=False, external=True, return_status=True, nroots=1, tol=STABILITY_TOLERANCE
    )
    if stable:
        return None, True
    # PySCF rotates one spin only, from which the SCF often returns: rotate the other spin the opposite way.
    closed, up = closed_shell.mo_coeff, orbitals[0]
    rotation = closed.T @ closed_shell.get_ovlp() @ up
    return (up, closed @ rotation.T), False


def _can_rotate(mean_field: Any) -> bool:
    """Return whether occupied orbitals can mix with empty ones: those of hydrogen in a minimal basis cannot."""
    return any(0 < np.count_nonzero(occupations) < len(occupations) for occupations in mean_field.mo_occ)
