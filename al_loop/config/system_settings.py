"""Starting structures."""

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from al_loop.config.ensembles import Ensemble
from al_loop.config.frame_index import Frames, parse_frames
from al_loop.config.generator_settings import AdsorbateSettings, GeneratorSettings, InterfaceSettings
from al_loop.config.moments import Moments
from al_loop.utils.paths import printable
from committee.settings import Settings


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

    def relative_to(self, base: Path) -> "SystemSettings":
        """Return a copy whose file paths are resolved relative to a folder."""
        variants = tuple(tuple(_resolved(generator, base) for generator in variant) for variant in self.variants)
        return self.model_copy(update={"file": (base / self.file.expanduser()).resolve(), "variants": variants})


def _resolved(generator: GeneratorSettings, base: Path) -> GeneratorSettings:
    if not isinstance(generator, (InterfaceSettings, AdsorbateSettings)) or generator.file is None:
        return generator
    return generator.model_copy(update={"file": (base / generator.file.expanduser()).resolve()})
