"""The campaign's log: JSON lines, one per event, that a person can grep and a program can read."""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LOG_NAME = "log.jsonl"

_logger = logging.getLogger("al_loop")


class EventLog:
    """Appends events to a file; a log that cannot be written (full disk) never stops a run.

    A line that a full disk cut off is ended before the next one, so that it takes no other with it.

    Args:
        path: the file; its folder must exist when the first event comes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._warned = self._cut = False

    def write(self, event: str, **fields: Any) -> None:
        """Append one line with the UTC time, the event's name and ``fields`` (anything that has a ``str``)."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **fields}
        text = json.dumps(line, default=str, ensure_ascii=False)
        try:
            # Closed, so flushed, after every event; names of files may hold what is no UTF-8.
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(("\n" if self._cut else "") + text + "\n")
        except OSError as error:
            self._cut = True
            self._warn_once(error)
        else:
            self._cut = False

    def _warn_once(self, error: OSError) -> None:
        if self._warned:
            return
        self._warned = True
        _logger.warning(
            "cannot write the log %s (%s); the run goes on without it: make room or mend the permissions",
            self.path,
            error.strerror or error,
        )


def read_events(path: Path) -> list[dict[str, Any]]:
    """Read a log back; a last line that was cut off by a crash is left out."""
    events = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events
