"""Crystals with GPAW in plane waves: energy, forces and stress."""

import hashlib
import io
import math
from collections.abc import Collection
from pathlib import Path

import numpy as np
from ase import Atoms
from gpaw import GPAW, PW, FermiDirac, KohnShamConvergenceError, setup_paths
from gpaw.xc import XC

from dft_interfaces.engines.calculation import Numbers, UnconvergedError, labelled, last_lines
from dft_interfaces.errors import EngineNotInstalledError, EngineSettingsError
from dft_interfaces.label import Label, LevelOfTheory
from dft_interfaces.settings import HARD_ELEMENTS, HARD_ELEMENTS_CUTOFF_EV, GPAWSettings
from dft_interfaces.structure import CannotCalculateError, charge_and_multiplicity


class GPAWEngine:
    """Plane-wave PAW calculation of a periodic cell.

    Energies are the electronic free energy, of which forces and stress are the derivatives.

    Args:
        settings: the engine's block of the config.

    Raises:
        EngineSettingsError: a functional that this build of GPAW does not have.
        EngineNotInstalledError: no atomic setups for the functional.
    """

    def __init__(self, settings: GPAWSettings) -> None:
        self._settings = settings
        self.name = "gpaw"
        self.properties = frozenset({"energy", "forces", "stress"})
        self.level_of_theory = _level_of_theory(settings)

    def label(self, atoms: Atoms) -> Label:
        """Calculate one crystal; see ``DFTEngine.label``."""
        return labelled(atoms, self.level_of_theory, self._calculate)

    def _calculate(self, atoms: Atoms) -> Numbers:
        self._require_suitable(atoms)
        log = io.StringIO()
        atoms.calc = self._calculator(atoms, log)
        try:
            energy = atoms.get_potential_energy(force_consistent=True)
            return Numbers(float(energy), atoms.get_forces(), atoms.get_stress())
        except KohnShamConvergenceError as error:
            raise UnconvergedError(
                f"SCF not converged within {self._settings.max_cycles} cycles\n{last_lines(log.getvalue())}"
            ) from error
        except FileNotFoundError as error:
            raise CannotCalculateError(f"GPAW has no atomic setup for one of the elements: {error}") from error

    def _calculator(self, atoms: Atoms, log: io.StringIO) -> GPAW:
        return GPAW(
            mode=PW(self._settings.cutoff_eV),
            xc=self._settings.xc,
            kpts={"size": kpoint_mesh(atoms, self._settings.kpoint_density_A), "gamma": True},
            occupations=FermiDirac(self._settings.smearing_eV),
            maxiter=self._settings.max_cycles,
            # Frames of a trajectory have no symmetry; nearly symmetric ones must not be rounded to it.
            symmetry={"point_group": False},
            txt=log,
        )

    def _require_suitable(self, atoms: Atoms) -> None:
        if not atoms.pbc.all():
            raise CannotCalculateError(
                f"received pbc {atoms.pbc.tolist()}; engine gpaw needs all three directions periodic: give slabs "
                "and chains vacuum and pbc True, use engine pyscf for molecules"
            )
        charge, multiplicity = charge_and_multiplicity(atoms)
        if charge != 0:
            raise CannotCalculateError(
                f"received charge {charge:+d}; the energy of a charged periodic cell depends on its background: "
                "use a neutral cell"
            )
        if multiplicity > 2 and not atoms.get_initial_magnetic_moments().any():  # noqa: PLR2004 - a doublet
            raise CannotCalculateError(
                f"received spin multiplicity {multiplicity} without initial magnetic moments; set the moments of "
                "the atoms: they start the spin-polarised calculation of a crystal"
            )
        hard = sorted(HARD_ELEMENTS & set(atoms.symbols))
        if hard and self._settings.cutoff_eV < HARD_ELEMENTS_CUTOFF_EV:
            raise CannotCalculateError(
                f"received cutoff_eV {self._settings.cutoff_eV:g} for a structure with {' and '.join(hard)}, "
                f"expected at least {HARD_ELEMENTS_CUTOFF_EV:g}: at 400 eV forces on oxygen are wrong by half"
            )


def kpoint_mesh(atoms: Atoms, density_A: float) -> tuple[int, int, int]:
    """Return the mesh with k-points times lattice spacing of at least ``density_A`` (Å) along each axis.

    The spacing is that of the lattice planes, so that skewed cells get no fewer points than straight ones.
    """
    spacings = 1.0 / np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    x, y, z = (max(1, math.ceil(density_A / spacing - 1e-9)) for spacing in spacings)
    return x, y, z


def _level_of_theory(settings: GPAWSettings) -> LevelOfTheory:
    try:
        setup_name = XC(settings.xc).get_setup_name()
    except (NameError, KeyError, ValueError) as error:
        raise EngineSettingsError(
            f"received xc {settings.xc!r}, expected a functional that this build of GPAW has, such as PBE, RPBE, "
            f"revPBE or LDA: {error}"
        ) from error
    return LevelOfTheory(
        code="gpaw",
        summary=(
            f"{settings.xc}, plane waves {settings.cutoff_eV:g} eV, k-points x length >= "
            f"{settings.kpoint_density_A:g} Å, Fermi-Dirac {settings.smearing_eV:g} eV"
        ),
        parameters={
            "xc": settings.xc,
            "mode": "plane waves",
            "cutoff_eV": settings.cutoff_eV,
            "kpoint_density_A": settings.kpoint_density_A,
            "smearing_eV": settings.smearing_eV,
            "energy": "free energy",
            "setups": _setups_hash(setup_name),
        },
    )


def unknown_elements(settings: GPAWSettings, symbols: Collection[str]) -> list[str]:
    """Return the elements that the functional's atomic setups lack."""
    setup_name = XC(settings.xc).get_setup_name()
    return [
        symbol
        for symbol in sorted(symbols)
        if not any(file for folder in setup_paths for file in Path(folder).glob(f"{symbol}.{setup_name}*"))
    ]


def _setups_hash(setup_name: str) -> str:
    """Return a hash of the atomic setups that GPAW would read: another set gives other numbers."""
    for folder in setup_paths:
        files = sorted(Path(folder).glob(f"*.{setup_name}*"))
        if files:
            digest = hashlib.sha256()
            for file in files:
                digest.update(file.name.encode() + b"\0" + file.read_bytes())
            return digest.hexdigest()[:16]
    raise EngineNotInstalledError(
        f"GPAW finds no atomic setups for {setup_name} in {[str(path) for path in setup_paths]}; install them with: "
        "pip install gpaw-data"
    )
