"""Which imports began and which ended: one that was killed is told until its file has been imported whole."""

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
    """A file of which a campaign may hold a part only.

    Attributes:
        file: its name.
        content: SHA-256 of what stood in it.
        labels: frames in it that have a label.
        suspects: frames in it without one.
        began: when, UTC, as text.
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
        """Return what ``al-loop status --json`` shows."""
        return {
            "file": self.file,
            "labels": self.labels,
            "suspects": self.suspects,
            "began": self.began,
            "message": str(self),
        }


def storable(name: str) -> str:
    """Return the name of a file as text that a database can hold: names may be any bytes."""
    return name.encode(errors="backslashreplace").decode()


def content_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def note_began(ledger: Ledger, path: Path, content: str, labels: int, suspects: int) -> ObjectId:
    """Write down that a file, which was checked, is stored from now on; returns the id of the event."""
    name = storable(path.name)
    return ledger.event(BEGAN, name, file=name, content=content, labels=labels, suspects=suspects)


def note_ended(ledger: Ledger, path: Path, content: str, message: str) -> ObjectId:
    """Write down that the whole file is stored; returns the id of the event."""
    name = storable(path.name)
    return ledger.event(ENDED, f"{name}: {message}", file=name, content=content)


def unfinished_imports(ledger: Ledger) -> list[UnfinishedImport]:
    """Return files whose import began and which were never stored whole, each once; no clock plays a role."""
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
