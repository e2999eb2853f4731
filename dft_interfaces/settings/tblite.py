"""Settings of engine tblite."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from dft_interfaces.settings.base import BaseEngineSettings, Objection, RetryStrategy, missing
from dft_interfaces.settings.crystals import charged

MIN_SPACING_A = 10.0
"""Least distance of lattice planes: xTB has only the gamma point; at 5.4 Å the error for Si is 0.45 eV per atom."""


class TBLiteRetryStrategy(RetryStrategy):
    """How a retry reaches the self-consistent solution."""

    max_cycles: int | None = Field(None, ge=1, le=100_000)
    mixer_damping: float | None = Field(None, gt=0, le=1)
    """Share of the new charges; small values stop oscillations."""
    start_temperature_K: float | None = Field(None, gt=0, le=1e6)
    """Electronic temperature of a first calculation, whose charges start the final one."""


class TBLiteSettings(BaseEngineSettings):
    """Semi-empirical tight binding (xTB): milliseconds for a molecule; a cheap reference, not DFT."""

    engine: Literal["tblite"]
    method: Literal["GFN2-xTB", "GFN1-xTB", "IPEA1-xTB"] = "GFN2-xTB"
    accuracy: float = Field(0.1, gt=0, le=1000)
    """Factor of the convergence thresholds; 1 is xTB's default, smaller is tighter."""
    electronic_temperature_K: float = Field(300.0, ge=0, le=1e6)
    """Width of the Fermi-Dirac occupations."""
    max_cycles: int = Field(250, ge=1, le=100_000)
    """SCF iterations before the calculation counts as unconverged."""
    ladder: tuple[TBLiteRetryStrategy, ...] = (
        TBLiteRetryStrategy(name="slow mixing", mixer_damping=0.1, max_cycles=1000),
        TBLiteRetryStrategy(name="warm start", start_temperature_K=3000, mixer_damping=0.2, max_cycles=1000),
    )
    """Retry strategies for a calculation that did not converge, in order."""

    def remedy(self) -> str | None:
        """See ``BaseEngineSettings.remedy``."""
        return None if find_spec("tblite") else missing("tblite", "tblite", "pip install tblite")

    def objections(self, atoms: Atoms) -> Iterator[Objection]:
        """See ``BaseEngineSettings.objections``."""
        yield from super().objections(atoms)
        if self.cores > 1:
            yield Objection(
                "cores",
                f"received {self.cores}, but engine tblite calculates on one core: set cores: 1 and start more workers",
            )
        if not atoms.pbc.any():
            return
        if not atoms.pbc.all():
            yield Objection(
                "file",
                f"received pbc {atoms.pbc.tolist()}, but engine tblite takes molecules and cells periodic in all three "
                'directions: give slabs and chains vacuum and pbc "T T T"',
            )
            return
        yield from charged(self.engine, atoms)
        spacing_A = 1.0 / np.linalg.norm(atoms.cell.reciprocal().array, axis=1).max()
        if spacing_A < MIN_SPACING_A:
            yield Objection(
                "file",
                f"received a cell with lattice planes {spacing_A:.1f} Å apart, expected at least {MIN_SPACING_A:g} Å: "
                "xTB here has the gamma point only; use a larger supercell, or engine gpaw",
            )
