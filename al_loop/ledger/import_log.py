"""Records of started and finished imports: an interrupted one is reported until its file is imported completely."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bson import ObjectId

from al_loop.ledger import Ledger

BEGAN: Final = "importing"  # kinds of events
ENDED: Final = "imported"


@dataclass(frozen=True)
class UnfinishedImport:
    """A file that a campaign may hold only in part.

    Attributes:
        file: its name.
        content: SHA-256 of its content.
        labels: number of its frames with a label.
        suspects: number of its frames without one.
        began: UTC time of the start, as text.
    """

    file: str
    content: str
    labels: int
    suspects: int
    began: str

    def __str__(self) -> str:
        what = (
            f"the import of {self.file} ({self.labels} labels, {self.suspects} frames without one), begun {self.began}"
        )
        return f"{what}, has not ended: it is running, or was cut off; then import the same file again, to complete it"

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of ``al-loop status --json``."""
        return {
            "file": self.file,
            "labels": self.labels,
            "suspects": self.suspects,
            "began": self.began,
            "message": str(self),
        }


def storable(name: str) -> str:
    """Return the name of a file as text that the database can store: names may hold any bytes."""
    return name.encode(errors="backslashreplace").decode()


def content_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def note_began(ledger: Ledger, path: Path, content: str, labels: int, suspects: int) -> ObjectId:
    """Record that the import of a checked file has started; returns the id of the event."""
    name = storable(path.name)
    return ledger.event(BEGAN, name, file=name, content=content, labels=labels, suspects=suspects)


def note_ended(ledger: Ledger, path: Path, content: str, message: str) -> ObjectId:
    """Record that a file is imported completely; returns the id of the event."""
    name = storable(path.name)
    return ledger.event(ENDED, f"{name}: {message}", file=name, content=content)


def unfinished_imports(ledger: Ledger) -> list[UnfinishedImport]:
    """Return files whose import started and was never completed, each once, independent of any clock."""
    whole = {event.data.get("content") for event in ledger.events(ENDED)}
    began = {event.data["content"]: event for event in ledger.events(BEGAN)}
    return [
        UnfinishedImport(
            event.data["file"],
            content,
            event.data["labels"],
            event.data["suspects"],
            event.time.strftime("%Y-%m-%d %H:%M UTC"),
        )
        for content, event in began.items()
        if content not in whole
    ]
