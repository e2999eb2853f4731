"""The campaign's log: JSON lines, one per event."""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LOG_NAME = "log.jsonl"

_logger = logging.getLogger("al_loop")


class EventLog:
    """Appends events to a file; a log that cannot be written (full disk) does not stop a run.

    A line that a full disk truncated is terminated before the next one, so that only this line is lost.

    Args:
        path: the file; its folder must exist before the first event.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._warned = self._cut = False

    def write(self, event: str, **fields: Any) -> None:
        """Append one line with the UTC time, the event's name and ``fields``, which may be any objects."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **fields}
        text = json.dumps(line, default=str, ensure_ascii=False)
        try:
            # Closed, and so flushed, after every event; names of files may hold bytes that are not UTF-8.
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
            "cannot write the log %s (%s); the run continues without it: make room or fix the permissions",
            self.path,
            error.strerror or error,
        )
