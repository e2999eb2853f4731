"""Settings of engine gpaw."""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Literal

from ase import Atoms
from ase.data import atomic_numbers
from pydantic import Field, field_validator

from dft_interfaces.settings.base import Objection, RetryStrategy, missing
from dft_interfaces.settings.crystals import PlaneWaveSettings

GPAW_INSTALL = "CC=g++ CXX=g++ pip install gpaw gpaw-data"
GPAW_REPAIR = "CC=g++ CXX=g++ pip install --force-reinstall --no-deps --no-cache-dir gpaw"

_FORCES_EV, _STRESS_EV = {"H": 600, "O": 600, "Fe": 500}, {"H": 600, "O": 800, "Fe": 1000}
"""Lowest cutoffs, which the setups do not state, with forces converged within 0.05 eV/Å and stress within 0.5 GPa.

Measured with GPAW 26.7 and gpaw-data, PBE, without spin, k-point gamma, at 300, 400, 500, 600, 800 and 1000 eV, the
last as the reference: an O2 dimer in a cell of 59 Å³ (forces off by 0.28, 0.17, 0.02 eV/Å at 400, 500, 600 eV; stress
by 37, 12, 3.3, 0.1 GPa at 400, 500, 600, 800 eV) and two rattled atoms of bcc iron (forces off by 0.10 and 0.01 eV/Å
at 400 and 500 eV; stress by 6.8, 1.1, 0.1, 0.7 GPa at 400, 500, 600, 800 eV, good at 600 eV by chance). From 400 eV
on a low cutoff makes the pressure too low. Hydrogen was not measured; its 600 eV is an assumption. Si and Cl (rattled
silicon, a Cl2 dimer) are converged at 300 eV, the lowest cutoff tried: forces within 0.01 eV/Å, stress within 0.2
GPa.
"""


class GPAWRetryStrategy(RetryStrategy):
    """How a retry reaches the self-consistent solution."""

    max_cycles: int | None = Field(None, ge=1, le=100_000)
    mixing_beta: float | None = Field(None, gt=0, le=1)
    """Share of the new density; small values stop charge sloshing."""
    mixing_history: int | None = Field(None, ge=1, le=1000)
    mixer: Literal["msr1", "pulay"] = "msr1"
    """GPAW's own multisecant scheme or Pulay's, where ``mixing_beta`` or ``mixing_history`` is given; density and spin
    density are then mixed separately."""
    eigensolver: Literal["davidson", "rmm-diis", "ppcg"] | None = None
    start_smearing_eV: float | None = Field(None, gt=0, le=100)
    """Fermi-Dirac width of a first calculation, whose density starts the final one."""


class GPAWSettings(PlaneWaveSettings):
    """Crystals with GPAW in plane waves: energy, forces and stress."""

    engine: Literal["gpaw"]
    xc: str = "PBE"
    cutoff_eV: float = Field(600.0, ge=20, le=20_000)
    """Plane-wave cutoff. Forces need 600 eV with O or H and 500 eV with Fe: lower values are refused. Stress needs
    more, 800 eV with O and 1000 eV with Fe: labels below that carry a remark. Other elements are not checked. Below
    20 eV no valence electron is described, above 20,000 eV nothing improves."""
    accept_low_cutoff: bool = False
    """Calculate below an element's lowest converged cutoff: for trials, not for training labels."""
    smearing_eV: float = Field(0.1, ge=0, le=100)
    """Fermi-Dirac width."""
    hubbard_U_eV: dict[str, float] = Field(default_factory=dict)
    """Effective U (Dudarev) by element and shell, for example ``{Ni-3d: 6.2}``."""
    density_tolerance: float = Field(1e-5, ge=1e-12, le=1)
    """Convergence of the density: its last change, electrons per valence electron. Compared with a tight calculation
    forces are within 1e-4 eV/Å (Si, NaCl, Al, bcc iron with and without U); at GPAW's default of 1e-4 those of Si
    differed by 1e-3 eV/Å, in a tenth less time."""
    energy_tolerance_eV: float = Field(1e-5, ge=1e-12, le=1)
    """Convergence of the energy: its range over the last three cycles, eV per valence electron."""
    max_cycles: int = Field(200, ge=1, le=100_000)
    ladder: tuple[GPAWRetryStrategy, ...] = (
        GPAWRetryStrategy(name="slow mixing", mixing_beta=0.02, max_cycles=400),
        GPAWRetryStrategy(name="warm start", start_smearing_eV=0.5, mixing_beta=0.05, max_cycles=400),
        GPAWRetryStrategy(name="another eigensolver", eigensolver="rmm-diis", mixing_beta=0.02, max_cycles=400),
    )
    """Retry strategies for a calculation that did not converge, in order."""

    @field_validator("hubbard_U_eV")
    @classmethod
    def _shells_exist(cls, value: dict[str, float]) -> dict[str, float]:
        for key in value:
            element, _, shell = key.partition("-")
            if element not in atomic_numbers or not (shell[:1].isdigit() and shell[1:] in {"s", "p", "d", "f"}):
                raise ValueError(f"received {key!r}, expected an element and its shell, such as Ni-3d")
        if len({key.partition("-")[0] for key in value}) < len(value):
            raise ValueError(f"received {sorted(value)}, expected one shell for each element")
        return value

    def remedy(self) -> str | None:
        """See ``BaseEngineSettings.remedy``."""
        if find_spec("gpaw") is None:
            return missing("gpaw", "gpaw", GPAW_INSTALL)
        if find_spec("_gpaw") is None:
            return (
                "engine gpaw: the package is installed without its compiled part (_gpaw); rebuild it with: "
                f"{GPAW_REPAIR} (GPAW_BUILD_JOBS must not be set: wheels built with it come out empty)"
            )
        if find_spec("gpaw_data") is None:
            return missing("gpaw", "gpaw_data", "pip install gpaw-data")
        if self.dispersion and find_spec("dftd3") is None:
            return missing(f"gpaw with dispersion {self.dispersion}", "dftd3", "pip install dftd3")
        return None

    def objections(self, atoms: Atoms) -> Iterator[Objection]:
        """See ``BaseEngineSettings.objections``."""
        if self.cores > 1:
            yield Objection(
                "cores",
                f"received {self.cores}, expected 1: GPAW from PyPI is built without MPI and runs on one core; label "
                "more frames at once instead (label.workers)",
            )
        yield from super().objections(atoms)
        if not self.accept_low_cutoff:
            yield from self._too_low_cutoff(atoms)

    def _too_low_cutoff(self, atoms: Atoms) -> Iterator[Objection]:
        hard = self._beyond_cutoff(atoms, _FORCES_EV)
        if hard:
            yield Objection(
                "cutoff_eV",
                f"received {self.cutoff_eV:g}, expected at least {max(hard.values()):g} for a structure with "
                f"{' and '.join(hard)}: below it forces are wrong; raise it, or set accept_low_cutoff: true",
            )

    def stress_remark(self, atoms: Atoms) -> str:
        """Return a remark on a stress that is not converged at the cutoff; empty where it is, or it is not known."""
        hard = self._beyond_cutoff(atoms, _STRESS_EV)
        if not hard:
            return ""
        return (
            f"the error of the stress may exceed 0.5 GPa at {self.cutoff_eV:g} eV for {' and '.join(hard)} (Pulay "
            f"stress): it is below that from {max(hard.values()):g} eV"
        )

    def _beyond_cutoff(self, atoms: Atoms, least_eV: Mapping[str, float]) -> dict[str, float]:
        elements = sorted(set(atoms.symbols) & least_eV.keys())
        return {symbol: least_eV[symbol] for symbol in elements if least_eV[symbol] > self.cutoff_eV}
