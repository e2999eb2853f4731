"""Generators: modify the structure of a file before a trajectory starts from it."""

from pathlib import Path
from typing import Annotated, Literal

from ase.data import chemical_symbols
from pydantic import AfterValidator, Field, PlainSerializer, model_validator

from committee.settings import Settings

SMALLEST_STRAIN, LARGEST_STRAIN = -0.5, 1.0  # a value beyond them is probably a percentage


def _known_symbol(symbol: str) -> str:
    if symbol not in chemical_symbols[1:]:
        raise ValueError(f"{symbol!r} is not a chemical symbol, expected one such as Cu")
    return symbol


def _a_plane(miller: tuple[int, int, int]) -> tuple[int, int, int]:
    if not any(miller):
        raise ValueError("received 0 0 0, expected Miller indices of a plane, for example [1, 1, 1]")
    return miller


Miller = Annotated[tuple[int, int, int], AfterValidator(_a_plane)]
Repeat = Annotated[int, Field(ge=1, le=100_000)]
Symbol = Annotated[str, AfterValidator(_known_symbol)]
# A stored configuration holds the file name only: a campaign's folder may be moved with its structures.
StructureFile = Annotated[Path, PlainSerializer(lambda path: path.name, return_type=str, when_used="json")]


class RattleSettings(Settings):
    """Displace every atom at random, in addition to explore.rattle_A."""

    kind: Literal["rattle"]
    displacement_A: float = Field(gt=0, le=1)
    """Standard deviation of each coordinate."""


class StrainSettings(Settings):
    """Deform the cell and the atoms with it."""

    kind: Literal["strain"]
    isotropic: float = Field(0.0, gt=SMALLEST_STRAIN, lt=LARGEST_STRAIN)
    """Isotropic strain, a fraction."""
    components: tuple[float, float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    """Components xx, yy, zz, yz, xz, xy of a symmetric strain, added to isotropic; the last three are shear."""

    @model_validator(mode="after")
    def _is_a_deformation(self) -> "StrainSettings":
        if any(not SMALLEST_STRAIN < value < LARGEST_STRAIN for value in self.components):
            raise ValueError(f"components must lie between -0.5 and 1 (0.03 is 3 %), received {list(self.components)}")
        if self.isotropic == 0 and not any(self.components):
            raise ValueError("received no strain, expected isotropic or components to be non-zero")
        return self


class SupercellSettings(Settings):
    """Repeat a periodic cell."""

    kind: Literal["supercell"]
    repeats: tuple[Repeat, Repeat, Repeat]
    """Repeats along each lattice vector."""


class VacancySettings(Settings):
    """Remove random atoms, different ones in each trajectory."""

    kind: Literal["vacancy"]
    element: Symbol
    count: int = Field(1, ge=1, le=100_000)


class SubstitutionSettings(Settings):
    """Replace random atoms by another element, different ones in each trajectory."""

    kind: Literal["substitution"]
    element: Symbol
    by: Symbol
    count: int = Field(1, ge=1, le=100_000)

    @model_validator(mode="after")
    def _exchanges_something(self) -> "SubstitutionSettings":
        if self.element == self.by:
            raise ValueError(f"element and by are both {self.by}, expected two different elements")
        return self


class SurfaceSettings(Settings):
    """Cut a slab from a conventional bulk cell (``ase.build.surface``)."""

    kind: Literal["surface"]
    miller: Miller
    layers: int = Field(ge=1)
    """Number of layers along the normal, in units of the repeated cell."""
    fixed_layers: int = Field(0, ge=0)
    """Number of bottom layers whose atoms are fixed, counted as ``layers``."""
    vacuum_A: float = Field(8.0, gt=0, le=1000)
    """Vacuum on each side of the slab."""
    repeats: tuple[Repeat, Repeat] = (1, 1)
    """Repeats in the plane."""
    periodic: bool = True
    """Periodic across the vacuum too, as plane-wave codes need."""

    @model_validator(mode="after")
    def _something_moves(self) -> "SurfaceSettings":
        if self.fixed_layers >= self.layers:
            raise ValueError(
                f"fixed_layers: received {self.fixed_layers} of {self.layers} layers, expected fewer, so that some move"
            )
        return self


class InterfaceSettings(Settings):
    """Stack another slab on this one (``ase.build.stack``), strained to this one's in-plane lattice."""

    kind: Literal["interface"]
    file: StructureFile
    """The other slab, or the bulk that it is cut from; relative to the config file."""
    miller: Miller | None = None
    """Cut the other slab along this plane; by default the file holds a slab."""
    layers: int = Field(2, ge=1)
    """Number of layers of the other slab, if it is cut."""
    repeats: tuple[Repeat, Repeat] = (1, 1)
    """In-plane repeats of the other slab, so that both lattices match."""
    gap_A: float = Field(2.5, gt=0, le=10)
    """Distance between the outermost atoms of both slabs, also across the periodic boundary if vacuum_A is 0."""
    vacuum_A: float = Field(0.0, ge=0, le=1000)
    """Vacuum above the second slab."""
    max_mismatch: float = Field(0.1, gt=0, le=0.5)
    """Largest strain of the other slab's lattice vectors, a fraction."""


class BoxSettings(Settings):
    """Put one or more copies of a molecule, at random positions and orientations, in a cubic box."""

    kind: Literal["box"]
    edge_A: float = Field(gt=0, le=1000)
    copies: int = Field(1, ge=1, le=100_000)
    min_distance_A: float = Field(2.0, gt=0)
    """Minimum distance between atoms of different copies."""
    periodic: bool = True


class AdsorbateSettings(Settings):
    """Put a molecule on a slab whose normal is z (``ase.build.add_adsorbate``)."""

    kind: Literal["adsorbate"]
    molecule: str | None = None
    """Name in ASE's g2 collection, such as CO or CH3OH, or the symbol of a single atom."""
    file: StructureFile | None = None
    """File of the molecule instead, relative to the config file."""
    height_A: float = Field(gt=0, le=6)
    """Height of the anchor atom above the slab's highest atom."""
    position: tuple[float, float] | None = None
    """In-plane position, as fractions of the cell; by default above the highest atom."""
    anchor: int = Field(0, ge=0)
    """Index of the molecule's atom at this position; the molecule is oriented to point away from the surface."""

    @model_validator(mode="after")
    def _one_molecule_on_the_surface(self) -> "AdsorbateSettings":
        if (self.molecule is None) == (self.file is None):
            raise ValueError("give either molecule (a name) or file, not both or neither")
        if self.position is not None and not all(0 <= value < 1 for value in self.position):
            raise ValueError(
                f"position is outside the cell: received {list(self.position)}, expected two fractions of the cell,"
                " at least 0 and below 1"
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
