"""The ``align`` block: the engine's level of theory against the foundation's and against labels made elsewhere."""

from pathlib import Path
from typing import Literal

import numpy as np
from ase.data import atomic_numbers
from pydantic import Field, model_validator

from committee.settings import Settings
from dft_interfaces.bounds import largest_energy_eV


class OtherLabelsSettings(Settings):
    """Labelled frames of another level of theory that join the training set."""

    file: Path | tuple[Path, ...]
    """Labelled frames: DFT outputs, extxyz, aselmdb or ASE databases, as files, folders or patterns such as
    ``runs/**/OUTCAR``, one or a list of them; relative to the config file. Frames may lack energies or forces; isolated
    atoms are taken as the elements' energies at this level."""
    level: str = Field(min_length=1)
    """Their level of theory in words, for example "PBE, VASP, OMat24 settings". Files of one level share one zero."""
    align: Literal["shifts"]
    """How their energies meet those of the engine. shifts: a constant for each element, fitted against the foundation
    for each level; forces and stress are used as they are. Say it only where the functionals are the same or close."""
    energy_key: str | None = None
    """Name of the energies (eV) in extxyz and databases; by default REF_energy, or else ASE's own results."""
    forces_key: str | None = None
    """Name of the forces (eV/Å); by default as for the energies."""
    stress_key: str | None = None
    """Name of the stresses (eV/Å³); by default as for the energies."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """What ``file`` names."""
        return (self.file,) if isinstance(self.file, Path) else self.file


class AlignSettings(Settings):
    """Labels against the foundation, before they are trained on."""

    accept_residual_spread_eV_per_atom: float = Field(0.3, gt=0)
    """What a constant for each element may leave of label minus foundation, a standard deviation over frames. Beyond
    it the campaign stops before the first training: either something is wrong with the labels, or the foundation is
    far off and you confirm it by raising this."""
    on_slip: Literal["stop", "leave_out", "warn"] = "stop"
    """What to do when energies, forces or stress look like a slip of unit, sign or order. leave_out goes on without
    labels that an engine gave which has changed meanwhile, once it is mended; where all labels look slipped it stops
    too. warn trains on them."""
    isolated_atoms_eV: dict[str, float] = Field(default_factory=dict)
    """The engine's energy of a single atom of each element, eV, in the ground state's multiplicity. They decide only
    what the labels leave open: the energies of compositions unlike those trained on, as good as the foundation's own
    single atoms (poor in models of crystals: expect errors of eV per atom, instead of hundreds between codes). Isolated
    atoms in imported files fill in elements that are not named here."""
    other_labels: tuple[OtherLabelsSettings, ...] = ()
    """Labelled frames of other levels of theory; without this block levels never mix."""

    @model_validator(mode="after")
    def _elements_exist(self) -> "AlignSettings":
        unknown = [symbol for symbol in self.isolated_atoms_eV if not atomic_numbers.get(symbol)]
        if unknown:
            raise ValueError(f"isolated_atoms_eV: expected symbols such as Na, received {', '.join(unknown)}")
        for symbol, energy in self.isolated_atoms_eV.items():
            largest = largest_energy_eV(np.array([atomic_numbers[symbol]]))
            if abs(energy) > largest:
                raise ValueError(
                    f"isolated_atoms_eV: received {energy:.3g} eV for {symbol}, expected at most {largest:.2g} eV in "
                    "size, twice what all its electrons have and some"
                )
        return self
