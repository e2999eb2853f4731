"""Plain checkpoints: an adapted foundation in its own library's format, which opens without this package."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from committee.backbones.contract import Backbone, OpenBackbone
from committee.backbones.fairchem import FairchemBackbone
from committee.backbones.sevennet import SevenNetBackbone
from committee.errors import CheckpointError
from committee.export.fairchem_plain import write_fairchem
from committee.export.plain_checkpoint import PlainCheckpoint
from committee.export.sevennet_plain import write_sevennet
from committee.model.reference_shifts import ReferenceShifts


def export_plain(
    backbone: Backbone,
    path: Path | str,
    *,
    shifts: ReferenceShifts | None = None,
    about: Mapping[str, Any] | None = None,
) -> PlainCheckpoint:
    """Write a foundation with its own or adapted weights as a checkpoint of its own library.

    fairchem: an inference checkpoint for ``load_predict_unit`` and ``FAIRChemCalculator``, with all tasks and in every
    inference setting that the foundation itself allows. SevenNet: a checkpoint for ``SevenNetCalculator`` and for
    ``sevenn get_model``, with all modalities. Reference shifts are added to the element references of the backbone's
    task or to the shifts of its modality; all other tasks and modalities keep theirs, but share the adapted weights.
    Both formats are pickles, like the libraries' own files; opening them needs nothing of this package.

    Args:
        backbone: with open weights, which are still at the path they were opened from.
        path: the file; an existing one is replaced once the new file is complete.
        shifts: reference shifts between labels and foundation; none by default.
        about: plain JSON values about the model, kept in the file under ``about``.

    Raises:
        CheckpointError: a closed foundation, weights that have changed since they were opened, or a path that cannot be
            written; nothing was written.
        FoundationError: the foundation's weights can no longer be read.
    """
    shifts = shifts or ReferenceShifts()
    described = _description(backbone, shifts, about or {})
    if isinstance(backbone, FairchemBackbone):
        return write_fairchem(backbone, Path(path), shifts, described)
    if isinstance(backbone, SevenNetBackbone):
        return write_sevennet(backbone, Path(path), shifts, described)
    raise CheckpointError(
        f"Only a foundation with open weights (fairchem, SevenNet) can be written as a plain checkpoint; this one is "
        f"{backbone.name}. Share the folder that committee.save writes instead."
    )


def _description(backbone: Backbone, shifts: ReferenceShifts, about: Mapping[str, Any]) -> dict[str, Any]:
    described = {
        "model": backbone.name,
        "level_of_theory": backbone.level_of_theory,
        "fingerprint": backbone.fingerprint,
        "reference_shifts_eV": {str(element): shift for element, shift in sorted(shifts.eV_per_atom.items())},
    }
    if isinstance(backbone, OpenBackbone):
        described["foundation_fingerprint"] = backbone.base_fingerprint
    return {**described, **about}
