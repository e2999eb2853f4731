"""Provenance of a frame in a file: what an export states of it, and what a label's remark keeps of it."""

import json
from collections.abc import Mapping
from typing import Any, Final

from al_loop.files.gate_values import gate_values
from al_loop.records import UNGATED, Frame
from dft_interfaces.label import Label, LabelStatus

_REMARK: Final = "imported: "


def stated_provenance(frame: Frame, common: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an export states of a campaign's frame, as plain JSON values.

    Args:
        frame: with its label and the gate's verdict, as far as it has them.
        common: provenance of all frames of the campaign.
    """
    stated = {
        **common,
        "frame": frame.frame_id,
        "round": frame.round,
        "role": frame.role.value,
        "system": frame.system,
        "trajectory": frame.trajectory,
    }
    if frame.verdict is not UNGATED:
        stated |= gate_values(frame)
    if frame.label is None:
        return stated
    stated |= {"level_of_theory": frame.label.level_of_theory, "cost_s": frame.label.cost_s}
    earlier = _of_remark(frame.label)
    if earlier is not None:
        stated["origin"] = earlier.get("origin", earlier)  # where it was calculated, however often it travelled
    return stated


def as_remark(provenance: Mapping[str, Any]) -> str:
    """Return the remark of an imported label, which holds its provenance."""
    return _REMARK + json.dumps(provenance)


def _of_remark(label: Label) -> dict[str, Any] | None:
    """Return the provenance of an imported label, None for one that was calculated here."""
    if label.status is not LabelStatus.CONVERGED or not label.message.startswith(_REMARK):
        return None
    try:
        found = json.loads(label.message.removeprefix(_REMARK))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
