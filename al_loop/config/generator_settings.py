"""Generators: what is made of a file's structure before a trajectory starts from it."""

from pathlib import Path
from typing import Annotated, Literal

from ase.data import chemical_symbols
from pydantic import AfterValidator, Field, PlainSerializer, model_validator

from committee.settings import Settings

SMALLEST_STRAIN, LARGEST_STRAIN = -0.5, 1.0  # beyond them a percentage was meant


def _known_symbol(symbol: str) -> str:
    if symbol not in chemical_symbols[1:]:
        raise ValueError(f"{symbol!r} is no chemical symbol, expected one such as Cu")
    return symbol


def _a_plane(miller: tuple[int, int, int]) -> tuple[int, int, int]:
    if not any(miller):
        raise ValueError("0 0 0 is no plane; give three whole numbers, for example [1, 1, 1]")
    return miller


Miller = Annotated[tuple[int, int, int], AfterValidator(_a_plane)]
Repeat = Annotated[int, Field(ge=1, le=100_000)]
Symbol = Annotated[str, AfterValidator(_known_symbol)]
# A stored configuration names the file: a campaign's folder may be moved with its structures.
StructureFile = Annotated[Path, PlainSerializer(lambda path: path.name, return_type=str, when_used="json")]


class RattleSettings(Settings):
    """Displace every atom at random, besides explore.rattle_A."""

    kind: Literal["rattle"]
    displacement_A: float = Field(gt=0, le=1)
    """Standard deviation of each coordinate."""


class StrainSettings(Settings):
    """Deform the cell and the atoms with it."""

    kind: Literal["strain"]
    isotropic: float = Field(0.0, gt=SMALLEST_STRAIN, lt=LARGEST_STRAIN)
    """The same in all directions, a fraction."""
    components: tuple[float, float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    """xx, yy, zz, yz, xz, xy of the symmetric strain, added to it: shear is the last three."""

    @model_validator(mode="after")
    def _is_a_deformation(self) -> "StrainSettings":
        if any(not SMALLEST_STRAIN < value < LARGEST_STRAIN for value in self.components):
            raise ValueError(f"components must lie between -0.5 and 1 (0.03 is 3 %), received {list(self.components)}")
        if self.isotropic == 0 and not any(self.components):
            raise ValueError("isotropic or components is missing: nothing would be strained")
        return self


class SupercellSettings(Settings):
    """Repeat a periodic cell."""

    kind: Literal["supercell"]
    repeats: tuple[Repeat, Repeat, Repeat]
    """Along each lattice vector."""


class VacancySettings(Settings):
    """Take atoms away at random, other ones in each trajectory."""

    kind: Literal["vacancy"]
    element: Symbol
    count: int = Field(1, ge=1, le=100_000)


class SubstitutionSettings(Settings):
    """Exchange atoms at random for those of another element, other ones in each trajectory."""

    kind: Literal["substitution"]
    element: Symbol
    by: Symbol
    count: int = Field(1, ge=1, le=100_000)

    @model_validator(mode="after")
    def _exchanges_something(self) -> "SubstitutionSettings":
        if self.element == self.by:
            raise ValueError(f"element and by are both {self.by}: nothing would be exchanged")
        return self


class SurfaceSettings(Settings):
    """Cut a slab from a conventional bulk cell (``ase.build.surface``)."""

    kind: Literal["surface"]
    miller: Miller
    layers: int = Field(ge=1)
    """Repeats of the cell that is cut, along the normal."""
    fixed_layers: int = Field(0, ge=0)
    """So many of the layers, the lowest ones, are fixed; the same layers that ``layers`` counts."""
    vacuum_A: float = Field(8.0, gt=0, le=1000)
    """On each side."""
    repeats: tuple[Repeat, Repeat] = (1, 1)
    """In the plane."""
    periodic: bool = True
    """Repeat across the vacuum too, as plane-wave codes need it."""

    @model_validator(mode="after")
    def _something_moves(self) -> "SurfaceSettings":
        if self.fixed_layers >= self.layers:
            raise ValueError(
                f"fixed_layers: received {self.fixed_layers} of {self.layers} layers, expected fewer: none would move"
            )
        return self


class InterfaceSettings(Settings):
    """Put another slab on this one (``ase.build.stack``); it takes on this one's lattice in the plane."""

    kind: Literal["interface"]
    file: StructureFile
    """The other slab, or the bulk that it is cut from; relative to the config file."""
    miller: Miller | None = None
    """Cut the other slab along this plane; by default the file holds a slab."""
    layers: int = Field(2, ge=1)
    """Of the slab that is cut."""
    repeats: tuple[Repeat, Repeat] = (1, 1)
    """Of the other slab in the plane, so that both match."""
    gap_A: float = Field(2.5, gt=0, le=10)
    """Between the outermost atoms of both, at the interface and, without vacuum, at its periodic image."""
    vacuum_A: float = Field(0.0, ge=0, le=1000)
    """Above the second slab."""
    max_mismatch: float = Field(0.1, gt=0, le=0.5)
    """Largest deformation of the other slab's lattice vectors, a fraction."""


class BoxSettings(Settings):
    """Put a molecule, or several copies of it at random places and orientations, in a cubic box."""

    kind: Literal["box"]
    edge_A: float = Field(gt=0, le=1000)
    copies: int = Field(1, ge=1, le=100_000)
    min_distance_A: float = Field(2.0, gt=0)
    """Between atoms of different copies."""
    periodic: bool = True


class AdsorbateSettings(Settings):
    """Put a molecule on a slab whose normal is z (``ase.build.add_adsorbate``)."""

    kind: Literal["adsorbate"]
    molecule: str | None = None
    """Its name in ASE's g2 collection, such as CO or CH3OH, or the symbol of a single atom."""
    file: StructureFile | None = None
    """Or a file with the molecule, relative to the config file."""
    height_A: float = Field(gt=0, le=6)
    """Of the anchor above the slab's highest atom."""
    position: tuple[float, float] | None = None
    """In the plane, as fractions of the cell; by default above the highest atom."""
    anchor: int = Field(0, ge=0)
    """Index of the molecule's atom that is put there; the rest keeps the molecule's orientation, turned so that it
    points away from the surface."""

    @model_validator(mode="after")
    def _one_molecule_on_the_surface(self) -> "AdsorbateSettings":
        if (self.molecule is None) == (self.file is None):
            raise ValueError("give either molecule, a name, or file, not both or neither")
        if self.position is not None and not all(0 <= value < 1 for value in self.position):
            raise ValueError(
                f"position is off the surface: received {list(self.position)}, expected two fractions of the cell from"
                " 0 up to 1"
            )
        return self


GeneratorSettings = Annotated[
    RattleSettings
    | StrainSettings
    | SupercellSettings
    | VacancySettings
    | SubstitutionSettings
    | SurfaceSettings
    | InterfaceSettings
    | BoxSettings
    | AdsorbateSettings,
    Field(discriminator="kind"),
]
