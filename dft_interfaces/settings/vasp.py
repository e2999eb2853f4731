"""Settings of engine vasp."""

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self

from ase import Atoms
from pydantic import Field, field_validator, model_validator

from dft_interfaces.settings.base import Objection, RetryStrategy, missing
from dft_interfaces.settings.crystals import PeriodicEngineSettings, not_periodic
from dft_interfaces.vasp_sets import InputSet, published_set

POTCAR_VARIABLES = ("VASP_PP_PATH", "PMG_VASP_PSP_DIR")
"""Environment variables with the folder of pseudopotentials: ASE's and pymatgen's."""

_MANAGED_TAGS = {
    "NSW": "labels are static calculations",
    "IBRION": "labels are static calculations",
    "ISIF": "labels hold forces and stress",
    "ISTART": "every calculation starts from scratch",
    "ICHARG": "every calculation starts from scratch",
    "NELECT": "it follows from the charge of the structure",
    "NUPDOWN": "it follows from the spin multiplicity of the structure",
    "KSPACING": "set kpoint_density_A",
}
_DIPOLE_TAGS = ("LDIPOL", "IDIPOL", "DIPOL")
_RANKS = re.compile(r"(?:^|\s)(?:-np|-n|--ntasks)[ =](\d+)(?=\s|$)")


class VASPRetryStrategy(RetryStrategy):
    """How a retry reaches the self-consistent solution."""

    algo: str | None = None
    """ALGO, for example ``All`` (conjugate gradients, no mixing) or ``Normal`` (blocked Davidson)."""
    nelm: int | None = Field(None, ge=1, le=100_000)
    amix: float | None = Field(None, gt=0, le=1)
    bmix: float | None = Field(None, gt=0, le=100)
    amix_mag: float | None = Field(None, gt=0, le=100)
    bmix_mag: float | None = Field(None, gt=0, le=100)
    start_smearing_eV: float | None = Field(None, gt=0, le=100)
    """Gaussian width of a first calculation, whose orbitals start the final one."""

    @property
    def incar(self) -> dict[str, Any]:
        """Tags that this retry strategy changes."""
        tags = ("algo", "nelm", "amix", "bmix", "amix_mag", "bmix_mag")
        return {tag.upper(): getattr(self, tag) for tag in tags if getattr(self, tag) is not None}


class VASPSettings(PeriodicEngineSettings):
    """Crystals, surfaces and molecules in a box with VASP (licensed; not part of this package)."""

    engine: Literal["vasp"]
    input_set: Literal["omat", "omc", "odac", "oc20", "custom"] = "omat"
    """The published inputs of one of UMA's tasks, so that labels have the level of theory of that task: omat for
    inorganic crystals, omc for molecular crystals, odac for metal-organic frameworks, oc20 for surfaces with
    adsorbates. custom takes everything from ``incar``, ``kpoint_density_A`` and ``potcar_names``."""
    command: str = "vasp_std"
    """Command that runs VASP in the folder of its inputs, without a shell: ``mpirun -np 32 /opt/vasp/bin/vasp_std``."""
    potcars: Path | None = None
    """Folder of the pseudopotentials, in the layout of ASE (``potpaw_PBE.54/Fe_pv/POTCAR``) or of pymatgen
    (``POT_GGA_PAW_PBE_54/POTCAR.Fe_pv.gz``). By default that of VASP_PP_PATH or PMG_VASP_PSP_DIR."""
    scratch: Path | None = None
    """Folder of the calculations' own folders, which are removed afterwards; by default the system's temporary folder.
    Calculations on several nodes need one that all nodes see."""
    incar: dict[str, Any] = Field(default_factory=dict)
    """Tags added to those of the input set or replacing them, for example ``{NCORE: 4, KPAR: 2}``. Except for tags that
    only control how the solution is reached, they change the level of theory. LDAUU, LDAUL, LDAUJ and MAGMOM take
    values by element: ``{LDAU: true, LDAUTYPE: 2, LDAUL: {Ni: 2}, LDAUU: {Ni: 6.2}, LDAUJ: {Ni: 0}}``."""
    kpoint_density_A: float | None = Field(None, gt=0, le=1000)
    """k-points times lattice spacing, Å, rounded up, mesh with Gamma, in place of the input set's own mesh; 30 suits
    metals. Required by custom."""
    potcar_names: dict[str, str] = Field(default_factory=dict)
    """Pseudopotentials in place of the input set's, by element: ``{W: W_pv}``."""
    potcar_functional: Literal["PBE", "PBE_52", "PBE_54", "PBE_64"] = "PBE_54"
    """Set of pseudopotentials for custom; the published sets have their own."""
    ladder: tuple[VASPRetryStrategy, ...] = (
        VASPRetryStrategy(name="conjugate gradients", algo="All", nelm=200),
        VASPRetryStrategy(
            name="slow mixing", algo="Normal", nelm=300, amix=0.1, bmix=0.0001, amix_mag=0.4, bmix_mag=0.0001
        ),
        VASPRetryStrategy(name="warm start", algo="All", nelm=300, start_smearing_eV=0.4),
    )
    """Retry strategies for a calculation that did not converge, in order."""

    @field_validator("incar")
    @classmethod
    def _free_tags_only(cls, incar: dict[str, Any]) -> dict[str, Any]:
        tags = {tag.upper(): value for tag, value in incar.items()}
        for tag in tags.keys() & _MANAGED_TAGS.keys():
            raise ValueError(f"received {tag}, which cannot be set here: {_MANAGED_TAGS[tag]}")
        return tags

    @field_validator("command")
    @classmethod
    def _command_can_be_split(cls, command: str) -> str:
        if not shlex.split(command):
            raise ValueError("received an empty command, expected for example mpirun -np 32 vasp_std")
        return command

    @model_validator(mode="after")
    def _custom_is_complete(self) -> Self:
        if self.input_set == "custom":
            if "ENCUT" not in self.incar or self.kpoint_density_A is None:
                raise ValueError(
                    "input_set custom: expected incar with ENCUT (eV) and kpoint_density_A (Å), which have no defaults"
                )
            return self
        lowest, given = published_set(self.input_set).incar["ENCUT"], self.incar.get("ENCUT")
        if given is not None and given < lowest:
            raise ValueError(
                f"incar: received ENCUT {given:g}, expected at least the {lowest:g} eV of input set {self.input_set}: "
                "a lower cutoff gives wrong forces and stress"
            )
        return self

    @model_validator(mode="after")
    def _dipole_tags_come_from_one_place(self) -> Self:
        given = [tag for tag in _DIPOLE_TAGS if tag in self.incar]
        if self.dipole_correction and given:
            raise ValueError(
                f"incar: received {', '.join(given)} beside dipole_correction: true, which sets "
                f"{', '.join(_DIPOLE_TAGS)} for each slab; remove one of the two"
            )
        return self

    @model_validator(mode="after")
    def _cores_are_those_of_the_command(self) -> Self:
        ranks = _RANKS.search(self.command)
        if ranks is not None and int(ranks[1]) != self.cores:
            raise ValueError(
                f"cores: received {self.cores}, but the command starts {ranks[1]} processes ({self.command}); "
                f"set cores: {ranks[1]}"
            )
        return self

    @property
    def inputs(self) -> InputSet:
        """The input set with the changes of these settings."""
        kpoints = None if self.kpoint_density_A is None else {"density_A": self.kpoint_density_A}
        if self.input_set == "custom":
            return InputSet("custom", self.incar, kpoints or {}, self.potcar_functional, self.potcar_names, True)
        base = published_set(self.input_set)
        return replace(
            base,
            incar={**base.incar, **self.incar},
            kpoints=kpoints or base.kpoints,
            potcars={**base.potcars, **self.potcar_names},
        )

    @property
    def potcar_folder(self) -> Path | None:
        """The folder of pseudopotentials, None if neither settings nor environment name one."""
        named = self.potcars or next(filter(None, map(os.environ.get, POTCAR_VARIABLES)), None)
        return Path(named).expanduser().absolute() if named else None

    @property
    def corrects_dipoles(self) -> bool:
        """See ``PeriodicEngineSettings.corrects_dipoles``; the tags may come from ``incar`` too."""
        return self.dipole_correction or bool(self.incar.get("LDIPOL"))

    def remedy(self) -> str | None:
        """See ``BaseEngineSettings.remedy``: everything that is missing, in one sentence."""
        if find_spec("pymatgen") is None:
            return missing("vasp", "pymatgen", 'pip install "al-loop[vasp]"')
        lacking = [*self._missing_programs(), *self._missing_potcars()]
        if self.scratch is not None and not self.scratch.is_dir():
            lacking.append(f"the scratch folder {self.scratch} does not exist: create it or correct scratch")
        return f"engine vasp: {'; '.join(lacking)}" if lacking else None

    def objections(self, atoms: Atoms) -> Iterator[Objection]:
        """See ``BaseEngineSettings.objections``."""
        yield from super().objections(atoms)
        yield from not_periodic(self.engine, atoms, "molecules too")
        yield from self._slab_objections(atoms)
        if self.corrected_slab(atoms) is not None and atoms.info.get("charge", 0) != 0:
            yield Objection(
                "dipole_correction",
                f"received a slab of charge {atoms.info['charge']:+g}, but VASP corrects the potential of charged "
                "cells only if they are cubic: remove the charge or dipole_correction",
            )
        polarised = self.inputs.incar.get("ISPIN", 1) == 2  # noqa: PLR2004 - VASP's number for it
        if not polarised and (atoms.info.get("spin") or 1) > 2:  # noqa: PLR2004 - a doublet
            yield Objection(
                "spin_multiplicity",
                f"received {atoms.info['spin']}, but input set {self.input_set} is not spin-polarised: choose another "
                "set, or set incar: {ISPIN: 2}, which is another level of theory",
            )
        yield from self._spin_start_objections(atoms, polarised=polarised)

    def _spin_start_objections(self, atoms: Atoms, *, polarised: bool) -> Iterator[Objection]:
        if self.spin_starts == ("given",):
            return
        received = f"received [{', '.join(self.spin_starts)}]"
        if not polarised:
            yield Objection(
                "spin_starts",
                f"{received}, but input set {self.input_set} is not spin-polarised, so that all starts give the same "
                "result: remove the key, or set incar: {ISPIN: 2}, which is another level of theory",
            )
        elif "given" in self.spin_starts and not atoms.has("initial_magmoms"):
            yield Objection(
                "spin_starts",
                f"{received} for a structure without initial magnetic moments, which the input set would then choose: "
                "remove given, or set the system's initial_magnetic_moments",
            )

    def _missing_programs(self) -> Iterator[str]:
        arguments = shlex.split(self.command)
        binaries = [argument for argument in arguments if "vasp" in Path(argument).name.lower()]
        for program in dict.fromkeys((arguments[0], *binaries)):
            if shutil.which(program) is not None:
                continue
            if program in binaries:
                yield (
                    f"the program {program} is not on the PATH: VASP needs a licence (vasp.at); build it or load your "
                    "site's module, and name the binary in command, by its absolute path if necessary"
                )
            else:
                yield f"the program {program} is not on the PATH: install it or change command ({self.command})"

    def _missing_potcars(self) -> Iterator[str]:
        folder = self.potcar_folder
        if folder is None:
            yield (
                "no folder of pseudopotentials: unpack the potpaw_PBE.54 of your VASP licence and name its parent "
                f"folder in potcars, or in {' or '.join(POTCAR_VARIABLES)}"
            )
        elif not folder.is_dir():
            yield f"the folder of pseudopotentials {folder} does not exist: correct potcars"
