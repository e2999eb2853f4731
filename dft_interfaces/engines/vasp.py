"""Crystals, surfaces and molecules in a box with VASP: energy, forces and stress."""

import math
import os
import shlex
import subprocess
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from dft_interfaces.engines.calculation import Numbers
from dft_interfaces.engines.spin_starts import CrystalEngine
from dft_interfaces.engines.vasp_inputs import Inputs, electrons, make_inputs, mesh_size
from dft_interfaces.engines.vasp_level import level_of_theory
from dft_interfaces.engines.vasp_output import LOG, diagnosis, read_numbers
from dft_interfaces.engines.vasp_potcars import Potcar, find_potcar, read_potcar
from dft_interfaces.errors import EngineNotInstalledError
from dft_interfaces.failures import EngineFailureError
from dft_interfaces.label import Failure
from dft_interfaces.settings.vasp import VASPRetryStrategy, VASPSettings
from dft_interfaces.structure import CannotCalculateError, charge_and_multiplicity

_CHARGED = "charged cell: its energy contains that of VASP's uniform background"


class VASPEngine(CrystalEngine[VASPSettings, VASPRetryStrategy]):
    """Static calculations with the inputs of a published set, each in a new folder.

    Energies are the electronic free energy, of which forces and stress are the derivatives.

    Raises:
        EngineNotInstalledError: no folder of pseudopotentials.
    """

    def __init__(self, settings: VASPSettings) -> None:
        folder = settings.potcar_folder
        if folder is None:
            raise EngineNotInstalledError("engine vasp: no folder of pseudopotentials; name it in potcars")
        super().__init__(settings, level_of_theory(settings, folder))
        self._inputs = settings.inputs
        self._potcar_folder = folder

    def estimate_s(self, atoms: Atoms) -> float:
        """See ``DFTEngine.estimate_s``."""
        kpoints = max(1.0, math.prod(mesh_size(atoms, self._inputs)) / 2)
        return len(self._settings.spin_starts) * (10.0 + 0.5 * kpoints * float(len(atoms)) ** 2 / self.cores)

    def unknown_elements(self, symbols: Collection[str]) -> list[str]:
        """Return the elements without a pseudopotential in the user's folder."""
        return [symbol for symbol in sorted(symbols) if symbol not in chemical_symbols or self._file(symbol) is None]

    def _file(self, symbol: str) -> Path | None:
        return find_potcar(self._potcar_folder, self._inputs.potcar_functional, self._inputs.potcar(symbol))

    def _calculate(self, atoms: Atoms, strategy: VASPRetryStrategy | None) -> Numbers:
        charge, _ = charge_and_multiplicity(atoms)
        slab = self._settings.corrected_slab(atoms)
        inputs = make_inputs(atoms, self._inputs, slab)
        potcars = self._potcars(inputs.elements)
        tags = electrons(inputs, potcars, charge) | (strategy.incar if strategy else {})
        with tempfile.TemporaryDirectory(prefix="vasp-", dir=self._settings.scratch) as name:
            folder = Path(name)
            if strategy is not None and strategy.start_smearing_eV is not None:
                start = {"ISMEAR": 0, "SIGMA": strategy.start_smearing_eV, "LWAVE": True}
                inputs.write(folder, potcars, tags | start)
                self._run(folder)
                tags = tags | {"ISTART": 1}
            inputs.write(folder, potcars, tags)
            self._run(folder)
            numbers = read_numbers(folder)
        remark = "\n".join(filter(None, [_CHARGED if charge else "", self._settings.slab_remark(atoms)]))
        numbers = _in_callers_order(numbers, inputs, remark)
        return numbers if slab is None else replace(numbers, stress_eV_per_A3=None)

    def _potcars(self, elements: Collection[str]) -> dict[str, Potcar]:
        functional = self._inputs.potcar_functional
        potcars = {
            symbol: read_potcar(self._potcar_folder, functional, self._inputs.potcar(symbol)) for symbol in elements
        }
        if self._inputs.name == "custom":
            _require_cutoff(self._inputs.incar, potcars)
        return potcars

    def _run(self, folder: Path) -> None:
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        try:
            with (folder / LOG).open("w", encoding="utf-8") as log:
                done = subprocess.run(
                    shlex.split(self._settings.command),
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
        except OSError as error:
            raise EngineFailureError(
                Failure.CRASH, f"the command {self._settings.command!r} could not be started: {error}"
            ) from error
        if done.returncode != 0:
            raise diagnosis(folder, f"VASP ended with exit code {done.returncode}", Failure.CRASH)


def _require_cutoff(incar: Mapping[str, Any], potcars: Mapping[str, Potcar]) -> None:
    hardest = max(potcars.values(), key=lambda potcar: potcar.cutoff_eV)
    if incar["ENCUT"] < hardest.cutoff_eV:
        raise CannotCalculateError(
            f"incar: received ENCUT {incar['ENCUT']:g}, expected at least the {hardest.cutoff_eV:g} eV (ENMAX) that "
            f"the pseudopotential {hardest.name} was made for"
        )


def _in_callers_order(numbers: Numbers, inputs: Inputs, remark: str) -> Numbers:
    back = np.argsort(inputs.order)
    if len(numbers.forces_eV_per_A) != len(back):
        raise EngineFailureError(
            Failure.OUTPUT, f"vasprun.xml holds {len(numbers.forces_eV_per_A)} atoms, expected {len(back)}"
        )
    moments = numbers.magnetic_moments_uB
    return replace(
        numbers,
        forces_eV_per_A=numbers.forces_eV_per_A[back],
        magnetic_moments_uB=None if moments is None else moments[back],
        remark=remark,
    )
