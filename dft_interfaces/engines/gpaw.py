"""Crystals with GPAW in plane waves: energy, forces and stress."""

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from gpaw import GPAW, PW, FermiDirac, KohnShamConvergenceError, setup_paths
from gpaw.xc import XC
from numpy.typing import NDArray

from dft_interfaces.engines.calculation import Numbers, UnconvergedError
from dft_interfaces.engines.dispersion import dispersion_correction, require_parameters
from dft_interfaces.engines.spin_starts import CrystalEngine, spin_channels, spin_treatment, unpolarised_remark
from dft_interfaces.errors import EngineNotInstalledError, EngineSettingsError
from dft_interfaces.foreign import reading
from dft_interfaces.geometry.kpoints import kpoint_mesh
from dft_interfaces.geometry.slab import Slab
from dft_interfaces.label import LevelOfTheory
from dft_interfaces.output_tail import EngineLog
from dft_interfaces.settings.gpaw import GPAWRetryStrategy, GPAWSettings
from dft_interfaces.structure import CannotCalculateError

DIPOLE_LAYER = {"poissonsolver": {"dipolelayer": True}}
"""GPAW's parameters for a layer of dipoles across the one direction that is not periodic."""


class GPAWEngine(CrystalEngine[GPAWSettings, GPAWRetryStrategy]):
    """Plane-wave PAW calculation of a periodic cell.

    Energies are the electronic free energy, of which forces and stress are the derivatives.

    Raises:
        EngineSettingsError: a functional that this build of GPAW lacks.
        EngineNotInstalledError: no atomic setups for the functional.
    """

    def __init__(self, settings: GPAWSettings) -> None:
        super().__init__(settings, _level_of_theory(settings))

    def estimate_s(self, atoms: Atoms) -> float:
        """See ``DFTEngine.estimate_s``; fitted to 2-8 atoms of Si, NaCl, Al, Fe and water at 250-600 eV."""
        kpoints = max(1.0, math.prod(self._settings.kpoint_mesh(atoms)) / 2)
        plane_waves = atoms.cell.volume * self._settings.cutoff_eV**1.5
        spins = sum(spin_channels(atoms, self._settings.spin_starts))
        return float(spins * (2.0 + kpoints * (0.1 + 5e-7 * plane_waves * len(atoms))))

    def unknown_elements(self, symbols: Collection[str]) -> list[str]:
        """Return the elements that the functional's atomic setups lack."""
        setup_name = XC(self._settings.xc).get_setup_name()
        return [
            symbol
            for symbol in sorted(symbols)
            if not any(file for folder in setup_paths for file in Path(folder).glob(f"{symbol}.{setup_name}*"))
        ]

    def _calculate(self, atoms: Atoms, strategy: GPAWRetryStrategy | None) -> Numbers:
        slab = self._settings.corrected_slab(atoms)
        placed = None if slab is None else placed_slab(atoms, slab)
        numbers = self._electronic(atoms if placed is None else placed.atoms, strategy)
        if placed is not None:  # GPAW's stress across the vacuum is wrong by a multiple of the correction
            forces = placed.in_callers_axes(numbers.forces_eV_per_A)
            numbers = replace(numbers, forces_eV_per_A=forces, stress_eV_per_A3=None)
        if self._settings.dispersion:
            numbers = _with_dispersion(numbers, atoms, self._settings)
        return replace(numbers, remark=self._remark(atoms, numbers))

    def _electronic(self, atoms: Atoms, strategy: GPAWRetryStrategy | None) -> Numbers:
        log = EngineLog()
        try:
            atoms.calc = self._converged(atoms, strategy, log)
            energy = float(atoms.get_potential_energy(force_consistent=True))
            forces, stress = atoms.get_forces(), atoms.get_stress()
            moments = atoms.get_magnetic_moments() if _polarised(atoms) else None
        except KohnShamConvergenceError as error:
            cycles = (strategy and strategy.max_cycles) or self._settings.max_cycles
            raise UnconvergedError(f"SCF not converged within {cycles} cycles\n{log.last_lines()}") from error
        except FileNotFoundError as error:
            raise CannotCalculateError(f"GPAW has no atomic setup for one of the elements: {error}") from error
        return Numbers(energy, forces, stress, moments)

    def _remark(self, atoms: Atoms, numbers: Numbers) -> str:
        unpolarised = unpolarised_remark(atoms) if "none" not in self._settings.spin_starts else ""
        of_stress = "" if numbers.stress_eV_per_A3 is None else self._settings.stress_remark(atoms)
        return "\n".join(filter(None, [unpolarised, self._settings.slab_remark(atoms), of_stress]))

    def _converged(self, atoms: Atoms, strategy: GPAWRetryStrategy | None, log: EngineLog) -> Any:
        """Return a converged calculator, started from one with a wider smearing if the retry strategy has one."""
        stated = GPAW(**self._parameters(atoms, strategy, self._settings.smearing_eV), txt=log)
        if strategy is None or strategy.start_smearing_eV is None:
            return stated
        warm = GPAW(**self._parameters(atoms, strategy, strategy.start_smearing_eV), txt=log)
        warm.get_potential_energy(atoms)
        return warm.dft.new(atoms, stated.params, warm.log).ase_calculator()

    def _parameters(self, atoms: Atoms, strategy: GPAWRetryStrategy | None, smearing_eV: float) -> dict[str, Any]:
        settings = self._settings
        parameters = {
            "mode": PW(settings.cutoff_eV),
            "xc": settings.xc,
            "kpts": {"size": kpoint_mesh(atoms, settings.kpoint_density_A), "gamma": True},
            "occupations": FermiDirac(smearing_eV),
            "convergence": {"density": settings.density_tolerance, "energy": settings.energy_tolerance_eV},
            "maxiter": (strategy and strategy.max_cycles) or settings.max_cycles,
            # Frames of a trajectory have no symmetry; nearly symmetric ones must not be rounded to it.
            "symmetry": {"point_group": False},
            "setups": {key.partition("-")[0]: f":{key[-1]},{U_eV:g}" for key, U_eV in settings.hubbard_U_eV.items()},
        }
        layer = {} if atoms.pbc.all() else DIPOLE_LAYER  # only a slab prepared for it is not periodic
        return parameters | layer | ({} if strategy is None else _scf_parameters(strategy, polarised=_polarised(atoms)))


@dataclass(frozen=True)
class PlacedSlab:
    """A copy of a slab shifted so that the potential step of GPAW, at the cell boundary, is in the vacuum.

    Attributes:
        atoms: not periodic across the vacuum, whose middle is at the cell boundary; lattice vectors along Cartesian
            axes as far as they are at right angles.
        rotation: (3, 3); a row vector of the copy times this is one of the caller's.
    """

    atoms: Atoms
    rotation: NDArray[np.float64]

    def in_callers_axes(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return vectors (n, 3) of the copy, such as forces, in the caller's axes."""
        rotated: NDArray[np.float64] = vectors @ self.rotation
        return rotated


def placed_slab(atoms: Atoms, slab: Slab) -> PlacedSlab:
    """Shift and rotate a slab; lengths, angles and the order of its atoms stay.

    Args:
        atoms: periodic in three directions.
        slab: its vacuum, whose vector is at right angles to the other two.
    """
    cell, rotation = atoms.cell.standard_form()
    if atoms.cell.handedness < 0:  # a mirror image, so that the vector across the vacuum points along its axis
        cell, rotation = -cell.array, -rotation
    fractions = atoms.get_scaled_positions(wrap=False)
    fractions[:, slab.axis] = (fractions[:, slab.axis] - slab.vacuum_middle) % 1.0
    copy = atoms.copy()
    copy.set_cell(cell)
    copy.set_scaled_positions(fractions)
    copy.pbc = [axis != slab.axis for axis in range(3)]
    return PlacedSlab(copy, np.asarray(rotation))


def _with_dispersion(numbers: Numbers, atoms: Atoms, settings: GPAWSettings) -> Numbers:
    """Add the correction of the periodic structure."""
    energy, forces, stress = dispersion_correction(atoms, settings.xc, settings.dispersion)
    without = numbers.stress_eV_per_A3
    return replace(
        numbers,
        energy_eV=numbers.energy_eV + energy,
        forces_eV_per_A=numbers.forces_eV_per_A + forces,
        stress_eV_per_A3=None if without is None else without + stress,
    )


def _polarised(atoms: Atoms) -> bool:
    return bool(atoms.get_initial_magnetic_moments().any())


def _scf_parameters(strategy: GPAWRetryStrategy, *, polarised: bool) -> dict[str, Any]:
    """Return a retry strategy as GPAW's parameters; density and spin density are mixed separately."""
    parameters: dict[str, Any] = {} if strategy.eigensolver is None else {"eigensolver": strategy.eigensolver}
    mixing = {"beta": strategy.mixing_beta, "nmaxold": strategy.mixing_history}
    given = {key: value for key, value in mixing.items() if value is not None}
    if given:
        mixer = {"name": strategy.mixer, **given}
        separate = {"name": "multi", "method": "dif", "mixer_a": mixer, "mixer_b": mixer}
        parameters["mixer"] = separate if polarised else mixer
    return parameters


def _level_of_theory(settings: GPAWSettings) -> LevelOfTheory:
    expected = "expected a functional that this build of GPAW has, such as PBE, RPBE, revPBE or LDA"
    with reading(lambda why: EngineSettingsError(f"received xc {settings.xc!r}, {expected}: {why}")):
        setup_name = XC(settings.xc).get_setup_name()
    require_parameters(settings.xc, settings.dispersion)
    corrections = [*(f"U({key}) {U_eV:g} eV" for key, U_eV in settings.hubbard_U_eV.items()), settings.dispersion]
    of_slabs = ", dipole correction of slabs" if settings.dipole_correction else ""
    return LevelOfTheory(
        code="gpaw",
        summary=(
            f"{' + '.join(filter(None, [settings.xc, *corrections]))}, plane waves {settings.cutoff_eV:g} eV, "
            f"k-points x length >= {settings.kpoint_density_A:g} Å, Fermi-Dirac {settings.smearing_eV:g} eV{of_slabs}"
        ),
        functional=settings.xc,
        dispersion=settings.dispersion,
        hubbard_U_eV=settings.hubbard_U_eV,
        pseudopotentials={f"GPAW setups {setup_name}": _setups_hash(setup_name)},
        basis={"mode": "plane waves", "cutoff_eV": settings.cutoff_eV},
        kpoint_density_A=settings.kpoint_density_A,
        smearing=f"Fermi-Dirac {settings.smearing_eV:g} eV",
        spin=spin_treatment(settings.spin_starts),
        more={
            "energy": "free energy",
            "density_tolerance": settings.density_tolerance,
            "energy_tolerance_eV": settings.energy_tolerance_eV,
            **settings.correction_of_slabs,
        },
    )


def _setups_hash(setup_name: str) -> str:
    """Return a hash of the atomic setups that GPAW reads; another set is another level of theory."""
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
