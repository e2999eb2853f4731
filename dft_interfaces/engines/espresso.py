"""Crystals with Quantum ESPRESSO's pw.x: energy, forces and stress."""

import math
import shlex
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from subprocess import CalledProcessError
from tempfile import TemporaryDirectory

import numpy as np
from ase import Atoms
from ase.calculators.espresso import Espresso, EspressoProfile

from dft_interfaces.engines.calculation import Numbers
from dft_interfaces.engines.espresso_input import (
    ENERGY_TOLERANCE_RY_PER_ATOM,
    Namelists,
    first_pass,
    namelists,
    second_pass,
    with_moments_as_shares,
)
from dft_interfaces.engines.espresso_output import magnetic_moments_uB, require_finished
from dft_interfaces.engines.spin_starts import CrystalEngine, spin_channels, spin_treatment, unpolarised_remark
from dft_interfaces.failures import EngineFailureError
from dft_interfaces.foreign import reading
from dft_interfaces.label import Failure, LevelOfTheory
from dft_interfaces.output_tail import last_lines, output_text
from dft_interfaces.settings.espresso import EspressoRetryStrategy, EspressoSettings
from dft_interfaces.structure import CannotCalculateError

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    # PMIx's shared-memory files are not needed on one machine and can fail.
    "PMIX_MCA_gds": "hash",
    # Two calculations on one machine would otherwise be bound to the same cores.
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}

FREE_ELECTRON_EV_A2 = 3.80998
"""ħ²/(2m): energy of a plane wave over its squared wave number."""

START_S = 1.0
SECONDS_PER_COEFFICIENT = 2.5e-5
"""Wall time of a label on one core, per plane-wave coefficient of the wave functions."""


class EspressoEngine(CrystalEngine[EspressoSettings, EspressoRetryStrategy]):
    """Plane-wave pseudopotential calculation of a periodic cell.

    Energies are pw.x's total energy, which with smearing is the free energy: forces and stress are its derivatives.

    Raises:
        EngineSettingsError: the functional is not that of the pseudopotentials, or an element has two of them.
    """

    def __init__(self, settings: EspressoSettings) -> None:
        super().__init__(settings, _level_of_theory(settings))
        self._pseudopotentials = settings.upf_set()

    def estimate_s(self, atoms: Atoms) -> float:
        """See ``DFTEngine.estimate_s``; within a factor of three for Si, Al, NaCl, bcc Fe and water in a box."""
        files = self._pseudopotentials.files
        pairs = sum(files[symbol].valence_electrons for symbol in atoms.symbols if symbol in files) / 2
        bands = max(1.2 * pairs, pairs + 4)
        waves = atoms.cell.volume * (self._settings.cutoff_eV / FREE_ELECTRON_EV_A2) ** 1.5 / (6 * math.pi**2)
        kpoints = math.prod(self._settings.kpoint_mesh(atoms)) / 2  # k and -k are one
        channels = spin_channels(atoms, self._settings.spin_starts)
        coefficients = kpoints * sum(channels) * bands * waves
        return float(START_S * len(channels) + SECONDS_PER_COEFFICIENT * coefficients / self.cores)

    def unknown_elements(self, symbols: Collection[str]) -> list[str]:
        """Return the elements without a pseudopotential."""
        return sorted(set(symbols) - set(self._pseudopotentials.files))

    def _calculate(self, atoms: Atoms, strategy: EspressoRetryStrategy | None) -> Numbers:
        self._require_same_pseudopotentials()
        prepared = with_moments_as_shares(atoms, self._pseudopotentials.files)
        values = namelists(self._settings, prepared, strategy)
        with TemporaryDirectory(prefix="espresso-") as name:
            folder = Path(name)
            if strategy is not None and strategy.start_smearing_eV is not None:
                self._run(prepared, first_pass(values, strategy.start_smearing_eV), folder, converged=False)
                values = second_pass(values)
            calculator = self._run(prepared, values, folder)
            numbers = _numbers(calculator, folder, len(atoms), stressed=values["control"]["tstress"])
        unpolarised = "" if "none" in self._settings.spin_starts else unpolarised_remark(atoms)
        return replace(numbers, remark="\n".join(filter(None, [unpolarised, self._settings.slab_remark(atoms)])))

    def _run(self, atoms: Atoms, values: Namelists, folder: Path, *, converged: bool = True) -> Espresso:
        mesh = self._settings.kpoint_mesh(atoms)
        calculator = Espresso(
            profile=EspressoProfile(self._command(folder), self._pseudopotentials.folder),
            directory=folder,
            pseudopotentials={symbol: self._pseudopotentials.files[symbol].name for symbol in set(atoms.symbols)},
            input_data=values,
            # None: pw.x then uses real wave functions for the Gamma point, at half the cost.
            kpts=None if mesh == (1, 1, 1) else mesh,
        )
        calculator.write_inputfiles(atoms, [])  # the namelists state the properties
        exit_code = 0
        try:
            calculator.template.execute(folder, calculator.profile)
        except CalledProcessError as error:
            exit_code = error.returncode
        require_finished(folder, exit_code, converged=converged)
        return calculator

    def _command(self, folder: Path) -> str:
        """Return the command line with its environment, so that this process's environment is not modified."""
        variables = [f"{key}={value}" for key, value in {**ENVIRONMENT, "TMPDIR": folder}.items()]
        parallel = ["mpirun", "-np", str(self.cores)] if self.cores > 1 else []
        return shlex.join(["env", *variables, *parallel, self._settings.program])

    def _require_same_pseudopotentials(self) -> None:
        if self._settings.upf_set().fingerprint != self._pseudopotentials.fingerprint:
            raise CannotCalculateError(
                f"the pseudopotentials in {self._pseudopotentials.folder} changed after the engine was built, which "
                "makes another level of theory: restore them, or start a new campaign"
            )


def _numbers(calculator: Espresso, folder: Path, atom_count: int, *, stressed: bool) -> Numbers:
    required = ("free_energy", "forces", *(["stress"] if stressed else []))

    def unreadable(why: str) -> EngineFailureError:
        tail = last_lines(output_text(folder / "espresso.pwo"))
        return EngineFailureError(
            Failure.OUTPUT, f"the output of pw.x does not hold {', '.join(required)} where expected ({why})\n{tail}"
        )

    with reading(unreadable):
        results = calculator.template.read_results(folder)
        return Numbers(
            float(results["free_energy"]),
            np.asarray(results["forces"], dtype=np.float64),
            np.asarray(results["stress"], dtype=np.float64) if stressed else None,
            magnetic_moments_uB(folder, atom_count),
        )


def _level_of_theory(settings: EspressoSettings) -> LevelOfTheory:
    pseudopotentials = settings.upf_set()
    functional = next(iter(pseudopotentials.files.values())).functional  # pbe and PBE are one level
    smearing = f"{settings.smearing.title()} {settings.smearing_eV:g} eV"
    corrections = [*(f"U({key}) {value:g} eV" for key, value in settings.hubbard_U_eV.items()), settings.dispersion]
    return LevelOfTheory(
        code="espresso",
        summary=", ".join(
            filter(
                None,
                [
                    functional,
                    *corrections,
                    f"{pseudopotentials.folder.name} pseudopotentials",
                    f"plane waves {settings.cutoff_eV:g} eV",
                    f"k-points x length >= {settings.kpoint_density_A:g} Å",
                    smearing,
                    "dipole correction of slabs" if settings.dipole_correction else "",
                ],
            )
        ),
        functional=functional,
        dispersion=settings.dispersion,
        hubbard_U_eV=settings.hubbard_U_eV,
        pseudopotentials={"UPF files": pseudopotentials.fingerprint},
        basis={
            "mode": "plane waves",
            "cutoff_eV": settings.cutoff_eV,
            "density_cutoff_factor": settings.density_cutoff_factor,
        },
        kpoint_density_A=settings.kpoint_density_A,
        smearing=smearing,
        spin=spin_treatment(settings.spin_starts),
        more={
            "energy": "free energy",
            "energy_tolerance_Ry_per_atom": ENERGY_TOLERANCE_RY_PER_ATOM,
            **({"hubbard_projectors": "atomic"} if settings.hubbard_U_eV else {}),
            **settings.correction_of_slabs,
        },
    )
