"""Export of models into the file formats of the foundations' own libraries."""

from committee.export.fairchem_committee import export_fairchem
from committee.export.plain import export_plain
from committee.export.plain_checkpoint import PlainCheckpoint

__all__ = ["PlainCheckpoint", "export_fairchem", "export_plain"]
