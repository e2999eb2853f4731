"""The end of what an engine prints and writes, for the message of a failure."""

import io
from contextvars import ContextVar
from pathlib import Path
from typing import TextIO

LOG_LINES = 25
_TAIL_BYTES = 20_000
_KEPT_CHARACTERS = 1_000_000

ECHO: ContextVar[TextIO | None] = ContextVar("ECHO", default=None)
"""A second stream that receives what engines in this process print, so that it survives if the process is killed."""


class EngineLog(io.StringIO):
    """The output of an engine in this process; only the end of a long output is kept."""

    def write(self, text: str, /) -> int:
        """Add to the log."""
        if self.tell() > _KEPT_CHARACTERS:
            end = self.getvalue()[-_KEPT_CHARACTERS // 2 :]
            self.seek(0)
            self.truncate()
            super().write(end)
        echo = ECHO.get()
        if echo is not None:
            echo.write(text)
        return super().write(text)

    def last_lines(self) -> str:
        """Return its last non-empty lines."""
        return last_lines(self.getvalue()[-_TAIL_BYTES:])


def last_lines(log: str, count: int = LOG_LINES) -> str:
    """Return the last non-empty lines of an engine's log."""
    return "\n".join([line.rstrip() for line in log.splitlines() if line.strip()][-count:])


def last_written(folder: Path, since: float = 0.0) -> str:
    """Return the name and the last lines of the most recently written text file below a folder; empty if none.

    Args:
        folder: the folder in which a program writes.
        since: time (s since the epoch) before which files are ignored.
    """
    for path in sorted(_files(folder, since), key=lambda path: path.stat().st_mtime, reverse=True):
        tail = _tail(path)
        if b"\0" not in tail and (lines := last_lines(tail.decode(errors="replace"), LOG_LINES - 1)):
            return f"{path.name}:\n{lines}"
    return ""


def file_tail(path: Path, count: int = LOG_LINES) -> str:
    """Return the last non-empty lines of a file; empty if it cannot be read."""
    try:
        return last_lines(_tail(path).decode(errors="replace"), count)
    except OSError:
        return ""


def output_text(path: Path) -> str:
    """Return the text of an output file; empty if there is none."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read()


def _files(folder: Path, since: float) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_mtime >= since]
