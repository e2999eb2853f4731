"""Settings of engine espresso."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ase import Atoms
from pydantic import Field, field_validator

from dft_interfaces.errors import EngineSettingsError
from dft_interfaces.pseudopotentials.upf_files import UpfFile, UpfSet, read_upf_set
from dft_interfaces.settings.base import Objection, RetryStrategy
from dft_interfaces.settings.crystals import PlaneWaveSettings

INSTALLED_PSEUDOPOTENTIALS = Path(sys.prefix, "share/al-loop/pseudopotentials/PseudoDojo-0.5-PBE-SR-standard")
ESPRESSO_INSTALL = "apt-get install --no-install-recommends quantum-espresso"

ULTRASOFT_DENSITY_FACTOR = 8.0
"""Ultrasoft and PAW densities need 8 to 12 times the cutoff of the wave functions."""

_SHELLS = {
    "1s": "H",
    "2p": "C N O",
    "3d": "Ti V Cr Mn Fe Co Ni Cu Zn Ga",
    "4d": "Zr Nb Mo Tc Ru Rh Pd Ag Cd In",
    "5d": "Hf Ta W Re Os Ir Pt Au Hg",
    "4f": "Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu",
    "5f": "Th Pa U Np Pu Am Cm",
}
"""Shells on which pw.x before 7.1 applies a Hubbard U, one for each element (``set_hubbard_l.f90``)."""

HUBBARD_SHELL = {element: shell for shell, elements in _SHELLS.items() for element in elements.split()}


class EspressoRetryStrategy(RetryStrategy):
    """How a retry reaches the self-consistent solution."""

    max_cycles: int | None = Field(None, ge=1, le=100_000)
    mixing_beta: float | None = Field(None, gt=0, le=1)
    """Share of the new density; small values stop charge sloshing."""
    mixing_mode: Literal["plain", "TF", "local-TF"] | None = None
    """``local-TF`` for slabs, clusters and other systems with an inhomogeneous density."""
    diagonalization: Literal["david", "cg"] | None = None
    """``cg`` is slower and converges where Davidson fails."""
    start_smearing_eV: float | None = Field(None, gt=0, le=100)
    """Width of a first calculation, whose density starts the final one."""


class EspressoSettings(PlaneWaveSettings):
    """Crystals with Quantum ESPRESSO: plane waves and pseudopotentials; energy, forces and stress."""

    engine: Literal["espresso"]
    program: str = "pw.x"
    """Name or path of the program."""
    pseudopotentials: Path | None = None
    """Folder with one UPF file for each element; by default the environment variable ESPRESSO_PSEUDO, else the
    PseudoDojo files that ``make setup`` installs."""
    xc: str = "PBE"
    """The functional for which the pseudopotentials were made."""
    cutoff_eV: float = Field(1250.0, ge=20, le=20_000)
    """Plane-wave cutoff. The default is enough for most of PseudoDojo; 550 eV is enough for Si and Al. Below 20 eV no
    valence electron is described, above 20,000 eV nothing improves."""
    density_cutoff_factor: float = Field(4.0, ge=4, le=100)
    """Cutoff of the density over that of the wave functions: 4 for norm-conserving pseudopotentials, 8 to 12 for
    ultrasoft and PAW ones."""
    smearing: Literal["fermi-dirac", "gaussian", "marzari-vanderbilt"] = "fermi-dirac"
    smearing_eV: float = Field(0.1, gt=0, le=100)
    """Smearing width. Fixed occupations are not available, since they fail where a frame has no gap."""
    hubbard_U_eV: dict[str, float] = Field(default_factory=dict)
    """Effective U (Dudarev) by element and shell, for example ``{Ni-3d: 6.2}``. Needs pw.x before 7.1."""
    max_cycles: int = Field(100, ge=1, le=100_000)
    ladder: tuple[EspressoRetryStrategy, ...] = (
        EspressoRetryStrategy(name="slow mixing", mixing_beta=0.2, mixing_mode="local-TF", max_cycles=200),
        EspressoRetryStrategy(name="warm start", start_smearing_eV=0.5, mixing_beta=0.2, max_cycles=200),
        EspressoRetryStrategy(name="conjugate gradients", diagonalization="cg", mixing_beta=0.1, max_cycles=300),
    )
    """Retry strategies for a calculation that did not converge, in order."""

    @field_validator("hubbard_U_eV")
    @classmethod
    def _known_shells(cls, value: dict[str, float]) -> dict[str, float]:
        for key in value:
            element, _, shell = key.partition("-")
            if element not in HUBBARD_SHELL:
                raise ValueError(f"received {key!r}, expected an element for which pw.x has a shell, such as Ni-3d")
            if shell != HUBBARD_SHELL[element]:
                raise ValueError(f"received {key!r}, expected {element}-{HUBBARD_SHELL[element]}: pw.x takes no other")
        return value

    @property
    def pseudopotentials_folder(self) -> Path:
        """The folder from which the pseudopotentials are read."""
        folder = self.pseudopotentials or os.environ.get("ESPRESSO_PSEUDO") or INSTALLED_PSEUDOPOTENTIALS
        return Path(folder).expanduser().absolute()

    def upf_set(self) -> UpfSet:
        """Return the pseudopotentials.

        Raises:
            EngineSettingsError: none for the functional, or two for one element.
        """
        return read_upf_set(self.pseudopotentials_folder, self.xc)

    def remedy(self) -> str | None:
        """See ``BaseEngineSettings.remedy``."""
        if shutil.which(self.program) is None:
            return (
                f"engine espresso: the program {self.program} is not on the PATH; install Quantum ESPRESSO, on Debian "
                f"and Ubuntu with: {ESPRESSO_INSTALL}"
            )
        if self.cores > 1 and shutil.which("mpirun") is None:
            return "engine espresso: cores above 1 need mpirun, which is not on the PATH; on Debian: openmpi-bin"
        if not any(self.pseudopotentials_folder.glob("*.[uU][pP][fF]")):
            return (
                f"engine espresso: there are no pseudopotentials (*.upf) in {self.pseudopotentials_folder}; run make "
                "setup, or set 'pseudopotentials' or ESPRESSO_PSEUDO to a folder with one UPF file for each element"
            )
        return None

    def objections(self, atoms: Atoms) -> Iterator[Objection]:
        """See ``BaseEngineSettings.objections``."""
        yield from super().objections(atoms)
        yield from self._pseudopotential_objections(sorted(set(atoms.symbols)))

    def _pseudopotential_objections(self, elements: list[str]) -> Iterator[Objection]:
        try:
            files = self.upf_set().files
        except EngineSettingsError as error:
            yield Objection("pseudopotentials", str(error))
            return
        absent = [element for element in elements if element not in files]
        if absent:
            yield Objection(
                "pseudopotentials",
                f"received a structure with {', '.join(absent)}, for which there is no {self.xc} file in "
                f"{self.pseudopotentials_folder}: add it there, or use another set",
            )
        for file in (files[element] for element in elements if element in files):
            yield from self._cutoff_objections(file)

    def _cutoff_objections(self, file: UpfFile) -> Iterator[Objection]:
        if file.min_cutoff_eV is not None and self.cutoff_eV < file.min_cutoff_eV:
            yield Objection(
                "cutoff_eV",
                f"received {self.cutoff_eV:g}, expected at least {file.min_cutoff_eV:.0f} for a structure with "
                f"{file.element}: according to the authors of {file.name}, forces and stress are wrong below it",
            )
        if not file.norm_conserving and self.density_cutoff_factor < ULTRASOFT_DENSITY_FACTOR:
            yield Objection(
                "density_cutoff_factor",
                f"received {self.density_cutoff_factor:g}, expected at least {ULTRASOFT_DENSITY_FACTOR:g} for a "
                f"structure with {file.element}: {file.name} is ultrasoft or PAW",
            )
