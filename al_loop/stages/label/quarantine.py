"""Descriptions of frames without a usable label: the kind of failure, the tries, the reason."""

from collections.abc import Sequence
from typing import Any

from al_loop.errors import GuardStop
from al_loop.records import LabelledFrame
from dft_interfaces.label import Label

QUARANTINED = "quarantined"


def quarantined_as_dict(frame: LabelledFrame) -> dict[str, Any]:
    """Return the entry of status, report and events for a frame without a usable label, as plain JSON.

    Returns:
        ``round``, ``frame`` (id), ``system``, ``role``, ``failure`` (kind), ``tries`` (calculations), ``seconds`` and
        ``reason`` (one line of the label's message).
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


def require_few_failed(round_: int, calculated: int, failed: Sequence[LabelledFrame], most: float) -> None:
    """Stop if too many calculations of a round failed.

    Raises:
        GuardStop: more of them failed than is allowed.
    """
    if len(failed) > most * calculated:
        raise GuardStop(
            f"Round {round_}: {len(failed)} of {calculated} calculations failed (at most {most:.0%} may). The first: "
            f"{quarantine_in_words(failed[0])}. Fix the cause and start again in another folder, or raise "
            "label.max_failed_fraction and run the same command again."
        )


def failure_kind(frame: LabelledFrame) -> str:
    """The kind of failure; an outlier has only a status."""
    return str(frame.label.failure or frame.label.status)


def tries(frame: LabelledFrame) -> int:
    """Number of calculations."""
    return max(1, len(frame.label.attempts))


def quarantine_in_words(frame: LabelledFrame) -> str:
    """Describe in one line why a frame is quarantined."""
    made = tries(frame)
    return (
        f"frame {frame.frame_id[:12]} of {frame.system} is quarantined: {failure_kind(frame)} after {made} "
        f"{'try' if made == 1 else 'tries'}: {failure_reason(frame.label)}"
    )


def failure_in_words(label: Label) -> str:
    """Describe in one line how a calculation failed: the kind of failure and its reason."""
    return f"{label.failure or label.status}: {failure_reason(label)}"


def failure_reason(label: Label) -> str:
    """Return the line of the last failure's message with the reason: the first, or the last one of a traceback."""
    messages = [a.message for a in label.attempts if a.failure is not None and a.failure is label.failure]
    lines = (messages or [label.message])[-1].strip().splitlines() or ["no message"]
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]
