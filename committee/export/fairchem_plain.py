"""An adapted fairchem model as fairchem's own inference checkpoint."""

from pathlib import Path
from typing import Any

from committee.backbones.fairchem import FairchemBackbone
from committee.export.fairchem_parts import assembled, read_foundation, with_shifts
from committee.export.plain_checkpoint import PlainCheckpoint
from committee.export.torch_file import write_torch
from committee.model.reference_shifts import ReferenceShifts


def write_fairchem(
    backbone: FairchemBackbone, path: Path, shifts: ReferenceShifts, about: dict[str, Any]
) -> PlainCheckpoint:
    """Write a fairchem backbone; see ``committee.export.plain.export_plain``."""
    stored, state = read_foundation(backbone)
    copied = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
    checkpoint = assembled(stored.model_config, with_shifts(stored.tasks_config, shifts, backbone), copied)
    checkpoint.about = about  # fairchem's class has no field for it, and ignores other attributes
    write_torch(checkpoint, path)
    return PlainCheckpoint(
        path=path,
        library="fairchem",
        opening=_OPENING.format(path=str(path), task=backbone.settings.task_name),
        notes=() if stored.model_config.get("supports_single_atoms", False) else (_LONE_ATOMS,),
    )


_LONE_ATOMS = (
    "fairchem keeps the energies of isolated atoms apart from its checkpoints: it refuses a single atom outside a "
    "crystal, unless load_predict_unit receives atom_refs"
)

_OPENING = """\
from fairchem.core import FAIRChemCalculator
from fairchem.core.units.mlip_unit import load_predict_unit
calculator = FAIRChemCalculator(load_predict_unit({path!r}, "batch", device="cpu"), task_name={task!r})"""
