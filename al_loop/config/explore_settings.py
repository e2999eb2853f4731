"""The ``systems``, ``explore`` and ``hold_out`` blocks: starting structures, exploration and held-out frames."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
from ase import Atoms
from pydantic import Field, field_validator, model_validator

from al_loop.config.generator_settings import GeneratorSettings
from al_loop.errors import InputError
from al_loop.utils.paths import printable
from committee.settings import Settings
from dft_interfaces.settings import StageQueueSettings

Frames = int | str
"""An index or the text of a slice, counted as Python and ASE do: 0, -1, "2:8", "::10"."""
_INDEX: Final = re.compile(r"\s*-?\d{1,9}\s*")
_SLICE: Final = re.compile(r"\s*(-?\d{1,9})?\s*:\s*(-?\d{1,9})?\s*(?::\s*(-?\d{1,9})?\s*)?")
Moments = dict[str, float] | tuple[float, ...]
Ensemble = Literal["nve", "langevin", "bussi", "npt", "relax"]


def parse_frames(frames: Frames) -> int | slice:
    """Return an index or a slice.

    Raises:
        ValueError: the text is neither.
    """
    if isinstance(frames, int):
        return frames
    if _INDEX.fullmatch(frames):
        return int(frames)
    found = _SLICE.fullmatch(frames)
    bounds = [None if bound is None else int(bound) for bound in found.groups()] if found else []
    if not bounds or bounds[2] == 0:
        raise ValueError(f'received {frames!r}, expected an index such as 0 or -1, or a slice such as "2:8" or "::10"')
    return slice(*bounds)


def set_moments(atoms: Atoms, moments: Mapping[str, float] | Sequence[float] | None) -> None:
    """Set the initial magnetic moments of a structure; with None it keeps those of its file.

    Args:
        atoms: the structure, changed in place.
        moments: µB, by element (0 for all others) or for each atom in the file's order.

    Raises:
        InputError: the structure lacks an element, or the number of moments differs from the number of atoms.
    """
    if moments is None:
        return
    if isinstance(moments, Mapping):
        absent = sorted(set(moments) - set(atoms.symbols))
        if absent:
            raise InputError(
                f"received moments for {', '.join(absent)}, expected elements of the structure: "
                f"{', '.join(sorted(set(atoms.symbols)))}"
            )
        _set(atoms, [moments.get(symbol, 0.0) for symbol in atoms.symbols])
        return
    if len(moments) != len(atoms):
        raise InputError(
            f"received {len(moments)} moments, expected {len(atoms)}: one for each atom of the file (a supercell "
            "repeats them), or one for each element, such as {Fe: 2.2}"
        )
    _set(atoms, moments)


def _set(atoms: Atoms, moments: Sequence[float]) -> None:
    atoms.set_initial_magnetic_moments(None)  # ASE does not replace vectors by numbers
    atoms.set_initial_magnetic_moments(np.array(moments))


class SystemSettings(Settings):
    """One starting structure, and how it is modified."""

    file: Path
    """Any file that ``ase.io.read`` opens, relative to the config file."""
    name: str = ""
    """Name in the report; by default the stem of the file name."""
    frames: Frames | None = None
    """Which frames of a file with several: an index such as 0 or -1, or a slice such as "2:8" or "::10", each frame of
    which becomes one structure. By default the last frame; check-config shows how many there are."""
    ordered: int | None = Field(None, ge=1, le=100)
    """Number of ordered cells to make from a disordered CIF (partial occupancies) with pymatgen, each a structure.
    ``supercell`` is applied first and must give whole atoms. Cells of lowest electrostatic energy come first if
    oxidation states can be guessed."""
    charge: int | None = None
    """Total charge, e. By default the charge in the file, else 0."""
    spin_multiplicity: int | None = Field(None, ge=1)
    """Spin multiplicity 2S + 1. By default that in the file, else the lowest that the electron count allows."""
    initial_magnetic_moments: Moments | None = None
    """Initial magnetic moments of spin-polarised calculations, µB: by element, for example {Fe: 2.2}, or one for each
    atom of the file, for example [2.2, -2.2] for an antiferromagnet. By default those in the file, if any."""
    supercell: tuple[int, int, int] = (1, 1, 1)
    """Repeats along each lattice vector."""
    strains: tuple[float, ...] = (0.0,)
    """Isotropic strains of the cell at the start of exploration, for example [-0.03, 0, 0.03]."""
    variants: tuple[tuple[GeneratorSettings, ...], ...] = Field(((),), min_length=1)
    """Starting structures made from this one: each entry is a list of generators applied in order, [] for the structure
    itself. Generators: rattle, strain, supercell, vacancy, substitution, surface, interface, box, adsorbate."""
    ensemble: Ensemble | None = None
    """Ensemble of this structure, if not explore.ensemble, for example for a molecule among crystals at npt."""

    @field_validator("frames")
    @classmethod
    def _an_index_or_a_slice(cls, frames: Frames | None) -> Frames | None:
        if frames is None:
            return None
        index = parse_frames(frames)
        return index if isinstance(index, int) else frames

    @model_validator(mode="before")
    @classmethod
    def _name_from_file(cls, data: object) -> object:
        if isinstance(data, dict) and not data.get("name") and isinstance(data.get("file"), str):
            return {**data, "name": printable(Path(data["file"]).stem)}
        return data


class ExploreSettings(Settings):
    """Exploratory molecular dynamics, or relaxations, under the served model."""

    temperatures_K: tuple[float, ...] = Field(min_length=1)
    """Temperatures of exploration, each with its own trajectories. Explore hotter than your production runs. They may
    be changed between two runs of a campaign, for the next round on: a new one gets its share of held-out frames."""
    ensemble: Ensemble = "langevin"
    """langevin or bussi (NVT), npt (crystals and liquids at pressure_GPa, isotropic cell changes), nve (temperatures_K
    sets the initial velocities), or relax (to the nearest minimum; temperatures_K has no effect)."""
    timestep_fs: float = Field(0.5, ge=1e-3, le=10)
    """MD time step. A bond to hydrogen vibrates with a period of 9 fs; above 10 fs no atomic motion is resolved."""
    steps: int = Field(200, ge=1, le=10**9)
    """MD steps of each trajectory in each round, at most 10⁹ (about a microsecond)."""
    check_every: int = Field(10, ge=1, le=10**9)
    """Steps between frames that the gate checks and that may be labelled."""
    friction_per_ps: float = Field(20.0, gt=0, le=1e4)
    """Friction of the Langevin thermostat, also for npt. At 10⁴ velocities decorrelate within 0.1 fs."""
    bussi_relaxation_fs: float = Field(100.0, ge=1e-3, le=1e9)
    """Relaxation time of the Bussi thermostat."""
    barostat_relaxation_fs: float = Field(500.0, ge=1e-3, le=1e9)
    """Relaxation time of the barostat of npt; at least 50 time steps."""
    ramp_to_K: float | None = Field(None, gt=0, le=1e5)
    """Heat or cool each trajectory linearly from its temperature to this one."""
    pressure_GPa: float = Field(0.0, ge=-1e3, le=1e4)
    """Pressure of npt, and of relaxations with relax_cell; negative values are tension."""
    ramp_to_GPa: float | None = Field(None, ge=-1e3, le=1e4)
    """Change the pressure of each npt trajectory linearly from pressure_GPa to this value."""
    relax_cell: bool = False
    """Relaxations change the cell as well."""
    relaxed_below_eV_per_A: float = Field(0.03, ge=1e-5)
    """A relaxation ends at the first gated frame whose largest force is below this; single precision allows 1e-5."""
    replicas: int = Field(1, ge=1, le=100_000)
    """Trajectories for each structure, variant, strain and temperature, each in its own file."""
    rattle_A: float = Field(0.05, ge=0, le=1)
    """Standard deviation of random displacements of the starting positions; at 1 Å atoms overlap."""
    batches: int | None = Field(None, ge=1, le=1000)
    """Number of batches of a round: the labels of one are calculated while the next is explored. By default at most 4,
    of at least 2 trajectories and 4 labels each. On a GPU that few trajectories leave idle, 1 may be faster."""
    from_failures: float = Field(0.0, ge=0, le=1)
    """Share of a later round's trajectories that restart, with new velocities, from the last valid frame of a
    trajectory that was stopped in the previous round; the others start from the structures again."""
    queue: StageQueueSettings | None = Field(None, exclude=True)  # where it runs does not change the exploration
    """Run each exploration as one job of a cluster's queue instead of in the campaign's own process."""

    @model_validator(mode="after")
    def _temperatures_are_physical(self) -> "ExploreSettings":
        for temperature in self.temperatures_K:
            if not temperature > 0:
                raise ValueError(f"temperatures_K must be above 0 K, received {temperature:g}")
        return self


class HoldOutSettings(Settings):
    """Frames of independent trajectories at the same conditions that are labelled once and never trained on."""

    test_frames: int = Field(16, ge=2, le=100_000)
    """Test frames, in equal shares over structures, strains and temperatures; a temperature that is added later gets
    such a share, also of the calibration frames, in the round that first explores it."""
    calibration_frames: int = Field(16, ge=2, le=100_000)
    """Frames that calibrate the gate: at least 9 for a confidence of 90 %, at least 29 trusted ones to prove it."""
    never_trained: tuple[SystemSettings, ...] = ()
    """Molecules or conformers that no training frame comes from; their errors are reported separately."""
    never_trained_frames: int = Field(6, ge=1, le=100_000)
    """Frames of each structure in never_trained."""
