"""Failures of the physics check, grouped by their reason without its numbers."""

import re
from collections import Counter
from dataclasses import dataclass

from al_loop.ledger import Ledger
from al_loop.records import GateCheck, Role

_NUMBER = re.compile(r"(?<![A-Za-z])[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class PhysicsAlarm:
    """One kind of failure in one round.

    Attributes:
        round: the round.
        kind: ``suspect`` or ``discard``.
        reason: with # in place of each number.
        example: one full reason.
        frames: number of frames.
    """

    round: int
    kind: str
    reason: str
    example: str
    frames: int


def physics_alarms(ledger: Ledger) -> list[PhysicsAlarm]:
    """Return the failures of all rounds, the most frequent of each round first."""
    return [alarm for round_ in ledger.rounds() for alarm in _of_round(ledger, round_)]


def _of_round(ledger: Ledger, round_: int) -> list[PhysicsAlarm]:
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for kind, reason, frames in ledger.check_reasons(round_, Role.EXPLORE, GateCheck.PHYSICS):
        key = (kind.value, _NUMBER.sub("#", reason))
        counts[key] += frames
        examples.setdefault(key, reason)
    return [PhysicsAlarm(round_, *key, examples[key], frames) for key, frames in counts.most_common()]
