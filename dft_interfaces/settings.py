"""What a user may set about labelling. Each class is the documentation of its block in the YAML file."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Unknown keys are errors; settings do not change after they were read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class PySCFSettings(Settings):
    """Molecules with PySCF: Gaussian basis, density fitting, no periodicity."""

    engine: Literal["pyscf"]
    xc: str = "pbe"
    """Functional in PySCF's spelling."""
    basis: str = "def2-svp"
    density_fit: bool = True
    """Density fitting: several times faster, errors well below those of the functional."""
    grid_level: int = Field(3, ge=0, le=9)
    """Density of the integration grid."""
    max_cycles: int = Field(100, ge=1)
    """SCF iterations before the calculation counts as unconverged."""


HARD_ELEMENTS = frozenset({"H", "O"})
HARD_ELEMENTS_CUTOFF_EV = 600.0
"""At 400 eV a force on oxygen was 1.93 against 1.26 eV/Å converged, and the stress 2 GPa off."""


class GPAWSettings(Settings):
    """Crystals with GPAW in plane waves: energy, forces and stress."""

    engine: Literal["gpaw"]
    xc: str = "PBE"
    cutoff_eV: float = Field(600.0, gt=0)
    """Plane-wave cutoff. 600 eV or more with O or H (400 eV gives wrong forces on oxygen)."""
    kpoint_density_A: float = Field(20.0, gt=0)
    """k-points times lattice spacing, Å, rounded up; the mesh follows the cell (20 gives 4x4x4 for 5.43 Å silicon).
    About 10 is enough for insulators, 30 or more for metals. Keep it off a multiple of a lattice parameter: strained
    copies would fall on different meshes."""
    smearing_eV: float = Field(0.1, ge=0)
    """Fermi-Dirac width."""
    max_cycles: int = Field(200, ge=1)


class ASECalculatorSettings(Settings):
    """Any ASE calculator by import path: other codes, or a machine-learned teacher in place of DFT."""

    engine: Literal["ase"]
    calculator: str
    """Import path of the calculator class, for example ``ase.calculators.emt.EMT``. It runs code: name only yours."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the calculator."""


EngineSettings = Annotated[PySCFSettings | GPAWSettings | ASECalculatorSettings, Field(discriminator="engine")]
