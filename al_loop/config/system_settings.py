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
    """One starting structure, and what is made of it."""

    file: Path
    """Any file that ``ase.io.read`` opens, relative to the config file."""
    name: str = ""
    """How the report calls it; the file's stem by default."""
    frames: Frames | None = None
    """Which of several frames of the file: an index such as 0 or -1, or a slice such as "2:8" or "::10", of which each
    frame is a structure of its own. By default the last one, and check-config says how many there are."""
    ordered: int | None = Field(None, ge=1, le=100)
    """Makes so many ordered cells of a disordered CIF (partial occupancies) through pymatgen, each a structure of its
    own. ``supercell`` is applied before, and has to give whole atoms; those with the lowest electrostatic energy come
    first where oxidation states can be guessed."""
    charge: int | None = None
    """Total charge of what is explored, e. By default what the file states, and 0 if it states none."""
    spin_multiplicity: int | None = Field(None, ge=1)
    """2S + 1. By default what the file states, or else the lowest that the electron count allows."""
    initial_magnetic_moments: Moments | None = None
    """Where a spin-polarised calculation starts, µB: by element, for example {Fe: 2.2}, or one for each atom of the
    file, for example [2.2, -2.2] for an antiferromagnet. By default those of the file, if it has any."""
    supercell: tuple[int, int, int] = (1, 1, 1)
    strains: tuple[float, ...] = (0.0,)
    """Isotropic strains of the cell that exploration starts from, for example [-0.03, 0, 0.03]."""
    variants: tuple[tuple[GeneratorSettings, ...], ...] = Field(((),), min_length=1)
    """What exploration starts from instead: each entry is a list of generators that are applied in turn to the
    structure, [] for the structure as it is. Generators: rattle, strain, supercell, vacancy, substitution, surface,
    interface, box, adsorbate."""
    ensemble: Ensemble | None = None
    """explore.ensemble by default; for a molecule beside crystals at constant pressure, say."""

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
        """The same with all files resolved from a folder."""
        variants = tuple(tuple(_resolved(generator, base) for generator in variant) for variant in self.variants)
        return self.model_copy(update={"file": (base / self.file.expanduser()).resolve(), "variants": variants})


def _resolved(generator: GeneratorSettings, base: Path) -> GeneratorSettings:
    if not isinstance(generator, (InterfaceSettings, AdsorbateSettings)) or generator.file is None:
        return generator
    return generator.model_copy(update={"file": (base / generator.file.expanduser()).resolve()})
