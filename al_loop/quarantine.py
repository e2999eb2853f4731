"""Frames that gave no label to train on, in words: the kind of failure, the tries, the reason."""

from collections.abc import Sequence
from typing import Any

from al_loop.ledger import Ledger
from al_loop.records import LabelledFrame
from dft_interfaces.label import Label

QUARANTINED = "quarantined"


def note_quarantined(ledger: Ledger, frames: Sequence[LabelledFrame]) -> None:
    """Write an event for each frame without a usable label, once."""
    noted = {event.data.get("frame") for event in ledger.events() if event.kind == QUARANTINED}
    for frame in frames:
        if frame.frame_id not in noted:
            ledger.event(QUARANTINED, quarantine_in_words(frame), frame.round, **quarantined_as_dict(frame))


def quarantined_as_dict(frame: LabelledFrame) -> dict[str, Any]:
    """Return what status, report and events say of a frame without a usable label, as plain JSON.

    Returns:
        ``round``, ``frame`` (id), ``system``, ``role``, ``failure`` (kind), ``tries`` (calculations), ``seconds`` and
        ``reason`` (one line; the label's message holds all).
    """
    label = frame.label
    return {
        "round": frame.round,
        "frame": frame.frame_id,
        "system": frame.system,
        "role": frame.role.value,
        "failure": failure_kind(frame),
        "tries": tries(frame),
        "seconds": label.cost_s,
        "reason": failure_reason(frame.label),
    }


def failure_kind(frame: LabelledFrame) -> str:
    """The kind of failure; an outlier has only a status."""
    return str(frame.label.failure or frame.label.status)


def tries(frame: LabelledFrame) -> int:
    """How many calculations were made."""
    return max(1, len(frame.label.attempts))


def quarantine_in_words(frame: LabelledFrame) -> str:
    """Say in one line why a frame is quarantined."""
    made = tries(frame)
    return (
        f"frame {frame.frame_id[:12]} of {frame.system} is quarantined: {failure_kind(frame)} after {made} "
        f"{'try' if made == 1 else 'tries'}: {failure_reason(frame.label)}"
    )


def failure_in_words(label: Label) -> str:
    """Say in one line how a calculation failed: the kind of failure and its reason."""
    return f"{label.failure or label.status}: {failure_reason(label)}"


def failure_reason(label: Label) -> str:
    """Say in one line what went wrong last: a message begins with it, a traceback ends with it."""
    messages = [a.message for a in label.attempts if a.failure is not None and a.failure is label.failure]
    lines = (messages or [label.message])[-1].strip().splitlines() or ["no message"]
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]
