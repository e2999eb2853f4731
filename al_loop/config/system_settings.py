"""Starting structures."""

from pathlib import Path

from pydantic import Field, model_validator

from al_loop.config.moments import Moments
from committee.settings import Settings


class SystemSettings(Settings):
    """One starting structure."""

    file: Path
    """Any file that ``ase.io.read`` opens, relative to the config file."""
    name: str = ""
    """How the report calls it; the file's stem by default."""
    charge: int = 0
    """Total charge, e."""
    spin_multiplicity: int | None = Field(None, ge=1)
    """2S + 1; by default the lowest that the electron count allows."""
    initial_magnetic_moments: Moments | None = None
    """Where a spin-polarised calculation starts, µB: by element, for example {Fe: 2.2}, or one for each atom of the
    file, for example [2.2, -2.2] for an antiferromagnet. By default those of the file, if it has any."""
    supercell: tuple[int, int, int] = (1, 1, 1)
    strains: tuple[float, ...] = (0.0,)
    """Isotropic strains of the cell that exploration starts from, for example [-0.03, 0, 0.03]."""

    @model_validator(mode="before")
    @classmethod
    def _name_from_file(cls, data: object) -> object:
        if isinstance(data, dict) and not data.get("name") and isinstance(data.get("file"), str):
            return {**data, "name": Path(data["file"]).stem}
        return data
