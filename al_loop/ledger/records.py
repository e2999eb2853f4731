"""Plain records that only the ledger returns."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from ase import Atoms

WORKER: Final = "worker"  # kind of event: the versions of a worker's libraries

_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class ClaimedRequest:
    """A label request that one worker holds while its lease lasts.

    Attributes:
        request_id: content hash of frame and level of theory.
        frame_id: content hash of ``atoms``.
        atoms: the structure to calculate, in the order the label must keep.
        level: fingerprint of the level of theory.
        token: new for every claim; a result with an older token is not accepted.
        attempt: 1 for the first worker.
    """

    request_id: str
    frame_id: str
    atoms: Atoms
    level: str
    token: str
    attempt: int


@dataclass(frozen=True)
class Holder:
    """The worker that holds a request.

    Attributes:
        request_id: of the request.
        token: of the claim.
        beat: changes with every heartbeat.
        worker: its name.
    """

    request_id: str
    token: str
    beat: datetime
    worker: str


@dataclass(frozen=True)
class Runner:
    """The process that runs a campaign, or ran it last.

    Attributes:
        token: of its lease, new for each start.
        folder: of the campaign, absolute.
        host: name of its machine, for messages.
        machine: identifies the machine and its namespace of process ids; empty if unknown.
        pid: id of the process.
        started: start time of the process, in clock ticks since boot.
        running: it has not recorded its end.
        beat: changes with every heartbeat.
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
        path: of its checkpoint, as given by the campaign.
        fingerprint: of its foundation before any adaptation.
        info: further data of the campaign.
        served_since: the round that promoted it, None if it was never served.
        checkpoint: SHA-256 of its files when they were written.
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
    """An event of a campaign; ``time`` is UTC."""

    kind: str
    message: str
    time: datetime
    round: int | None = None
    data: dict[str, Any] = field(default_factory=dict)
