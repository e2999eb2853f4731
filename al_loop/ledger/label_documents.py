"""Documents of labels, and their check before they are stored."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np
from gridfs import GridFS

from al_loop.ledger.base import now, raw
from al_loop.ledger.codec import get_blob, pack_floats, unpack_floats
from al_loop.ledger.records import ClaimedRequest
from al_loop.utils.content_hash import content_id
from dft_interfaces.files.label_json import attempt_from_dict
from dft_interfaces.label import Attempt, Failure, Label, LabelStatus
from dft_interfaces.label_check import flaw, rejected

_MESSAGE_CHARACTERS: Final = 20_000  # the end of an engine's output holds the reason of a failure
_ATTEMPT_CHARACTERS: Final = 4_000  # of each attempt's message


def checked(label: Label, claimed: ClaimedRequest) -> Label:
    """The label, or a rejected one if it is converged but cannot be trained on."""
    if label.status is not LabelStatus.CONVERGED:
        return label
    found = flaw(label, claimed.atoms, claimed.level)
    return label if found is None else rejected(label, found)


def label_document(document: type[Any], campaign: str, claimed: ClaimedRequest, label: Label) -> dict[str, Any]:
    """The document of a label without its arrays (see ``label_blobs``); with the energy only if it is converged."""
    return raw(
        document,
        id=content_id("label", claimed.request_id, claimed.token),
        request=claimed.request_id,
        frame=claimed.frame_id,
        level=claimed.level,
        campaign=campaign,
        attempt=claimed.attempt,
        status=label.status.value,
        energy_eV=label.energy_eV if label.status is LabelStatus.CONVERGED else None,
        cost_s=float(label.cost_s),
        message=label.message[-_MESSAGE_CHARACTERS:],
        failure=None if label.failure is None else label.failure.value,
        attempts=json.dumps([asdict(_shortened(attempt)) for attempt in label.attempts]),
        created_at=now(),
    )


def label_blobs(label: Label) -> dict[str, bytes]:
    """The arrays of a label by field of its document; empty unless it is converged."""
    arrays = {
        "stress_eV_per_A3": label.stress_eV_per_A3,
        "forces_eV_per_A": label.forces_eV_per_A,
        "magnetic_moments_uB": label.magnetic_moments_uB,
    }
    converged = label.status is LabelStatus.CONVERGED
    return {
        name: pack_floats(np.asarray(values, dtype=np.float64))
        for name, values in arrays.items()
        if converged and values is not None
    }


def read_label(stored: Mapping[str, Any], files: GridFS) -> Label:
    """The inverse of ``label_document`` and ``label_blobs``."""
    forces = get_blob(files, stored, "forces_eV_per_A")
    stress = stored.get("stress_eV_per_A3")
    moments = get_blob(files, stored, "magnetic_moments_uB")
    return Label(
        status=LabelStatus(stored["status"]),
        level_of_theory=stored["level"],
        energy_eV=stored.get("energy_eV"),
        forces_eV_per_A=None if forces is None else unpack_floats(forces, -1, 3),
        stress_eV_per_A3=None if stress is None else unpack_floats(stress, 6),
        cost_s=stored["cost_s"],
        message=stored.get("message") or "",
        failure=Failure(stored["failure"]) if stored.get("failure") else None,
        magnetic_moments_uB=None if moments is None else unpack_floats(moments, -1),
        attempts=tuple(attempt_from_dict(attempt) for attempt in json.loads(stored.get("attempts") or "[]")),
    )


def _shortened(attempt: Attempt) -> Attempt:
    return replace(attempt, message=attempt.message[-_ATTEMPT_CHARACTERS:])
