"""Which imports began and which ended: one that was killed is told until its file has been imported whole."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

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


def content_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def note_began(ledger: Ledger, path: Path, content: str, labels: int, suspects: int) -> None:
    """Write down that a file, which was checked, is stored from now on."""
    ledger.event(BEGAN, path.name, file=path.name, content=content, labels=labels, suspects=suspects)


def note_ended(ledger: Ledger, path: Path, content: str, message: str) -> None:
    """Write down that the whole file is stored."""
    ledger.event(ENDED, f"{path.name}: {message}", file=path.name, content=content)


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
