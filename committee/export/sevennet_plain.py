"""An adapted SevenNet model as SevenNet's own checkpoint."""

import copy
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from torch import Tensor

from committee.backbones.sevennet import SevenNetBackbone
from committee.backbones.sevennet_checkpoint import read_sevennet
from committee.errors import CheckpointError
from committee.export.plain_checkpoint import PlainCheckpoint
from committee.export.torch_file import write_torch
from committee.model.reference_shifts import ReferenceShifts

_OPENING = """\
from sevenn.calculator import SevenNetCalculator
calculator = SevenNetCalculator({path!r}, device="cpu"{modal})"""
_RESCALE = "rescale_atomic_energy"
_LARGE_SHIFT_eV = 1000.0  # float32 resolves a total of such atoms to 0.1 meV per atom


def write_sevennet(
    backbone: SevenNetBackbone, path: Path, shifts: ReferenceShifts, about: dict[str, Any]
) -> PlainCheckpoint:
    """Write a SevenNet backbone; see ``committee.export.plain.export_plain``."""
    write_torch(_content(backbone, shifts, about), path)
    fidelity = backbone.settings.fidelity
    modal = "" if fidelity is None else f", modal={fidelity!r}"
    opening = _OPENING.format(path=str(path), modal=modal)
    return PlainCheckpoint(path, "SevenNet", opening, _notes(shifts))


def _content(backbone: SevenNetBackbone, shifts: ReferenceShifts, about: dict[str, Any]) -> dict[str, Any]:
    """Return what SevenNet's training would write, in the format of the installed release."""
    import sevenn
    from sevenn import _keys as keys
    from sevenn.model_build import init_shift_scale

    checkpoint, model, found = read_sevennet(backbone.settings)
    if found != backbone.base_fingerprint:
        raise CheckpointError(
            f"The weights of {backbone.name} have changed since the committee was opened; open the foundation again."
        )
    config = checkpoint.config
    state: dict[str, Tensor] = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    state |= {name: tensor.detach().cpu().float() for name, tensor in backbone.changed_weights.items()}
    if any(shifts.eV_per_atom.values()):
        _add_shifts(config, shifts, backbone.settings.fidelity)
        scaler = init_shift_scale(copy.deepcopy(config))
        state |= {f"{_RESCALE}.{name}": tensor.detach().clone() for name, tensor in scaler.state_dict().items()}
    # The weights are in the order of e3nn's own products and of this release, whatever wrote the foundation.
    config |= {keys.CUEQUIVARIANCE_CONFIG: {"use": False}, keys.USE_FLASH_TP: False, keys.USE_OEQ: False}
    config["version"] = sevenn.__version__
    return {
        **checkpoint.get_checkpoint_dict(),
        "config": config,
        "model_state_dict": state,
        "time": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "hash": uuid.uuid4().hex,
        "about": about,
    }


def _add_shifts(config: dict[str, Any], shifts: ReferenceShifts, fidelity: str | None) -> None:
    """Add reference shifts to the shift of each element, in one modality only if there are several.

    SevenNet stores one number for all elements, a list by atomic number, or one of them for each modality.
    """
    from sevenn import _keys as keys
    from sevenn._const import NUM_UNIV_ELEMENT

    def by_element(shift: float | list[float]) -> list[float]:
        return [float(value) for value in np.broadcast_to(shift, NUM_UNIV_ELEMENT)]

    def shifted(shift: float | list[float]) -> list[float]:
        table = by_element(shift)
        for element, value in shifts.eV_per_atom.items():
            table[element] += value
        return table

    present = config[keys.SHIFT]
    if fidelity is None:
        config[keys.SHIFT] = shifted(present)
        return
    if not isinstance(present, dict):  # all modalities share it
        present = dict.fromkeys(config[keys.MODAL_MAP], by_element(present))
        config[keys.USE_MODAL_WISE_SHIFT] = True
    config[keys.SHIFT] = {**present, fidelity: shifted(present[fidelity])}


def _notes(shifts: ReferenceShifts) -> tuple[str, ...]:
    large = [z for z, shift in sorted(shifts.eV_per_atom.items()) if abs(shift) > _LARGE_SHIFT_eV]
    if not large:
        return ()
    named = ", ".join(f"{chemical_symbols[z]} {shifts.eV_per_atom[z]:.0f} eV" for z in large)
    note = (
        f"SevenNet adds energies in single precision, and these reference shifts are large ({named}): total energies "
        "are rounded to about 1e-7 of their size. Forces and stress are not affected"
    )
    return (note,)
