"""Settings of engine pyscf."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from ase import Atoms
from pydantic import Field

from dft_interfaces.settings.base import BaseEngineSettings, Objection, RetryStrategy, missing

Dispersion = Literal["", "D3(BJ)", "D4"]


class PySCFRetryStrategy(RetryStrategy):
    """How a retry reaches the self-consistent solution."""

    max_cycles: int | None = Field(None, ge=1, le=100_000)
    level_shift_hartree: float | None = Field(None, ge=0, le=100)
    """Shift of the virtual orbitals, which stops oscillations at small gaps."""
    damping: float | None = Field(None, ge=0, lt=1)
    """Share of the old Fock matrix in the first cycles, before extrapolation starts."""
    start_smearing_eV: float | None = Field(None, gt=0, le=100)
    """Fermi smearing of a first calculation, whose density starts the final one."""
    newton: bool = False
    """Second-order solver: slower steps, converges where DIIS does not."""


class PySCFSettings(BaseEngineSettings):
    """Molecules with PySCF: Gaussian basis, density fitting, no periodicity."""

    engine: Literal["pyscf"]
    xc: str = "pbe"
    """Functional in PySCF's spelling, for example pbe, r2scan, pbe0, wb97m_v. xc wb97m_v with basis def2-tzvpd
    approximates the level of UMA's task omol; xc wb97m with dispersion D3(BJ), the same functional with D3(BJ) in place
    of its nonlocal correlation VV10, does so for a third to a sixth of the cost (water and methanol)."""
    basis: str = "def2-svp"
    dispersion: Dispersion = ""
    """Dispersion correction: D3 with Becke-Johnson damping, or D4; none by default."""
    density_fit: bool = True
    """Density fitting: several times faster, errors well below those of the functional."""
    grid_level: int = Field(3, ge=0, le=9)
    """Density of the integration grid."""
    nlc_grid_level: int = Field(1, ge=0, le=9)
    """The same for the nonlocal correlation of functionals such as wb97m_v, whose cost grows with the square of the
    number of points: for water, level 3 costs ten times as much as level 1 and changes forces by at most 1e-4 eV/Å."""
    max_cycles: int = Field(100, ge=1, le=100_000)
    """SCF iterations before the calculation counts as unconverged."""
    spin_check_below_eV: float = Field(4.5, ge=0, le=100)
    """Test every open shell, and every closed shell whose triplet is less than this above it (estimated from its
    orbitals), for a lower spin-polarised solution, as of a breaking bond. The test costs about as much as the
    calculation. 0 disables it and the search for other multiplicities."""
    multiplicities_tried: int = Field(3, ge=1, le=20)
    """Largest number of multiplicities calculated for a frame; the next one is tried where a spin flip seems cheap.
    Without a stated multiplicity the lowest is the label; a stated one is kept, and the label names a lower one."""
    ladder: tuple[PySCFRetryStrategy, ...] = (
        PySCFRetryStrategy(name="level shift and damping", level_shift_hartree=0.3, damping=0.3, max_cycles=200),
        PySCFRetryStrategy(name="warm start", start_smearing_eV=0.5, max_cycles=200),
        PySCFRetryStrategy(name="second-order solver", newton=True, max_cycles=100),
    )
    """Retry strategies for a calculation that did not converge, in order."""

    def remedy(self) -> str | None:
        """See ``BaseEngineSettings.remedy``."""
        found = find_spec("pyscf")
        if found is None:
            return missing("pyscf", "pyscf", "pip install pyscf")
        folders = found.submodule_search_locations or []
        if self.dispersion and not any((Path(folder) / "dispersion").is_dir() for folder in folders):
            return missing("pyscf", "pyscf-dispersion", "pip install pyscf-dispersion")
        return None

    def objections(self, atoms: Atoms) -> Iterator[Objection]:
        """See ``BaseEngineSettings.objections``."""
        yield from super().objections(atoms)
        if atoms.pbc.any():
            yield Objection(
                "file",
                f"received a periodic structure (pbc {atoms.pbc.tolist()}), but engine pyscf is for molecules (PySCF "
                "has no consistent periodic forces and stresses): remove the cell, or use engine gpaw for crystals",
            )
