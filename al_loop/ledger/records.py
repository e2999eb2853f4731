"""Plain records that only the ledger hands out."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from ase import Atoms

WORKER: Final = "worker"  # kind of event: which versions a worker calculates with

_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class ClaimedRequest:
    """A label request that one worker owns for as long as its lease lasts.

    Attributes:
        request_id: content hash of frame and level of theory.
        frame_id: content hash of ``atoms``.
        atoms: the structure to calculate, in the order the label must keep.
        level: fingerprint of the level of theory.
        token: changes with every claim; a result under an older token is not accepted.
        attempt: 1 for the first worker that tries.
    """

    request_id: str
    frame_id: str
    atoms: Atoms
    level: str
    token: str
    attempt: int


@dataclass(frozen=True)
class Holder:
    """Somebody who holds a request.

    Attributes:
        request_id: what is held.
        token: of the claim.
        beat: changes with every sign of life.
        worker: its name.
    """

    request_id: str
    token: str
    beat: datetime
    worker: str


@dataclass(frozen=True)
class Runner:
    """A process that runs a campaign, or ran it last.

    Attributes:
        token: of its lease, another one for each start.
        folder: the campaign's, absolute.
        host: name of its machine, for people.
        machine: what tells the machine and its numbering of processes from others; empty if nothing does.
        pid: number of the process.
        started: when the process was started, as the machine counts.
        running: it has not said that it ended.
        beat: changes with every sign of life.
    """

    token: str
    folder: str
    host: str
    machine: str
    pid: int
    started: str
    running: bool = True
    beat: datetime = _NEVER


@dataclass(frozen=True)
class ModelRecord:
    """A trained committee.

    Attributes:
        model_id: content hash of campaign, round and checkpoint.
        round: the round that trained it.
        path: where its checkpoint is, as the campaign gave it.
        fingerprint: of the foundation it was trained on.
        info: what the campaign noted about it.
        served_since: the round that promoted it, None if it was never served.
        checkpoint: SHA-256 of its files, as they were written.
    """

    model_id: str
    round: int
    path: str
    fingerprint: str
    info: dict[str, Any] = field(default_factory=dict)
    served_since: int | None = None
    checkpoint: str = ""


@dataclass(frozen=True)
class EventRecord:
    """Something worth remembering; ``time`` is UTC."""

    kind: str
    message: str
    time: datetime
    round: int | None = None
    data: dict[str, Any] = field(default_factory=dict)
