"""The ``align`` block: aligns labels of the engine, and of other levels of theory, with the foundation model."""

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
    ``runs/**/OUTCAR``, one or a list of them; relative to the config file. Frames may lack energies or forces. Isolated
    atoms among them give the reference energies of the elements at this level."""
    level: str = Field(min_length=1)
    """Their level of theory as free text, for example "PBE, VASP, OMat24 settings". Files of one level share one energy
    reference."""
    align: Literal["shifts"]
    """How their energies are aligned with the engine's. shifts: one constant per element, fitted against the foundation
    for each level; forces and stress are used unchanged. Use it only if the functionals are the same or close."""
    energy_key: str | None = None
    """Key of the energies (eV) in extxyz files and databases; by default REF_energy, else ASE's own results."""
    forces_key: str | None = None
    """Key of the forces (eV/Å); by default REF_forces, else ASE's own results."""
    stress_key: str | None = None
    """Key of the stresses (eV/Å³); by default REF_stress, else ASE's own results."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths in ``file``, as a tuple."""
        return (self.file,) if isinstance(self.file, Path) else self.file


class AlignSettings(Settings):
    """Comparison of labels with the foundation model before training."""

    accept_residual_spread_eV_per_atom: float = Field(0.3, gt=0)
    """Largest accepted standard deviation over frames of label minus foundation energy, after fitting one constant per
    element. Above it the campaign stops before the first training: either the labels are wrong, or the foundation is
    inaccurate here and you confirm that by raising this value."""
    on_unit_mismatch: Literal["stop", "leave_out", "warn"] = "stop"
    """What to do when energies, forces or stresses look like a mismatch of unit, sign or atom order. leave_out
    continues without labels of an engine that was corrected since; if all labels are affected it stops too. warn trains
    on them."""
    isolated_atoms_eV: dict[str, float] = Field(default_factory=dict)
    """The engine's energy of an isolated atom of each element, eV, in its ground-state multiplicity. They are used only
    where the labels do not determine an element's reference: for compositions unlike those trained on. The result is as
    good as the foundation's own isolated atoms (models of crystals: errors of eV per atom, instead of hundreds between
    codes). Isolated atoms in imported files are used for elements not named here."""
    other_labels: tuple[OtherLabelsSettings, ...] = ()
    """Labelled frames of other levels of theory; without this block, levels are never mixed."""

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
                    "size (about twice its total electronic energy)"
                )
        return self
