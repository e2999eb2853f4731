"""What the export of a plain checkpoint returns."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PlainCheckpoint:
    """A written file.

    Attributes:
        path: of the file.
        library: that the file is a checkpoint of.
        opening: lines of Python that make an ASE ``calculator`` of it.
        notes: what the format cannot hold; empty if there is nothing.
    """

    path: Path
    library: str
    opening: str
    notes: tuple[str, ...] = ()
