"""One frame in a file: structure, label if any, and provenance."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ase import Atoms

from al_loop.frames.own_entries import NO_ENTRIES, OwnEntries
from dft_interfaces.label import Label, LabelStatus

_REMARK: Final = "imported: "


@dataclass(frozen=True)
class Record:
    """A frame of n atoms.

    Attributes:
        atoms: the structure, with ``charge`` and ``spin`` in ``atoms.info``, without calculator.
        label: converged, or None.
        provenance: plain JSON values: campaign, round, role, verdict, level of theory, versions.
        entries: a user's own, which travel beside the structure.
    """

    atoms: Atoms
    label: Label | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    entries: OwnEntries = NO_ENTRIES


def as_remark(provenance: Mapping[str, Any]) -> str:
    """Return the remark of an imported label, which holds its provenance."""
    return _REMARK + json.dumps(provenance)


def origin(label: Label) -> dict[str, Any] | None:
    """Return the provenance of an imported label, None for one that was calculated here."""
    if label.status is not LabelStatus.CONVERGED or not label.message.startswith(_REMARK):
        return None
    try:
        found = json.loads(label.message.removeprefix(_REMARK))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
