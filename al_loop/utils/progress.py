"""Progress of stages: a bar on the terminal, a line in the log, or nothing; and sentences on what was left out."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from al_loop.utils.event_log import EventLog

Notify = Callable[[str], object]
"""Called with each sentence, before anything is computed."""
Advance = Callable[[int], object]
"""Called with the number of newly finished units (frames, labels, epochs)."""
Announce = Callable[[str], object]
"""Called with the name of the part of the work that begins."""


def log_note(sentence: str) -> None:
    """Write a sentence to the log ``al_loop``, which Python shows on standard error."""
    logging.getLogger("al_loop").warning("%s", sentence)


def show_nothing(_done: int | str) -> None:
    """Do nothing, as ``Advance`` or ``Announce``."""


class Progress(Protocol):
    """Display of a stage: ``with progress.stage("explore", total=40, unit="frames") as advance: advance(1)``."""

    def stage(self, name: str, *, total: int | None = None, unit: str = "") -> AbstractContextManager[Advance]:
        """Open a stage.

        Args:
            name: shown to the user.
            total: number of units, None if unknown.
            unit: of the count, for example ``frames``.
        """
        ...


class SilentProgress:
    """Shows nothing."""

    @contextmanager
    def stage(self, name: str, *, total: int | None = None, unit: str = "") -> Iterator[Advance]:  # noqa: ARG002
        """Open a stage without display."""
        yield show_nothing


class OneBar:
    """Counts the units of all stages together.

    Args:
        advance: called with the number of newly finished units of any stage.
    """

    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    @contextmanager
    def stage(self, name: str, *, total: int | None = None, unit: str = "") -> Iterator[Advance]:  # noqa: ARG002
        """Open a stage that has no display of its own."""
        yield self._advance


class RichProgress:
    """Bars on a terminal; stages may be nested.

    Args:
        console: standard error by default, since standard output is for results.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bars: Bars | None = None
        self._open = 0

    @contextmanager
    def stage(self, name: str, *, total: int | None = None, unit: str = "") -> Iterator[Advance]:
        """Open a stage with a bar, which disappears when the stage ends."""
        bars = self._enter()
        task = bars.add_task(name, total=total, unit=unit)
        try:
            yield lambda count: bars.advance(task, count)
        finally:
            bars.refresh()  # a short stage shows its last state too
            bars.remove_task(task)
            self._leave(bars)

    def _enter(self) -> Bars:
        if self._bars is None:
            self._bars = Bars(*_columns(), console=self._console, transient=True)
            self._bars.start()
        self._open += 1
        return self._bars

    def _leave(self, bars: Bars) -> None:
        self._open -= 1
        if self._open == 0:
            bars.stop()
            self._bars = None


class LoggedProgress:
    """Writes the start and the end of each stage to the log, and forwards the progress.

    Args:
        inner: progress display.
        log: the campaign's log.
    """

    def __init__(self, inner: Progress, log: EventLog) -> None:
        self._inner = inner
        self._log = log

    @contextmanager
    def stage(self, name: str, *, total: int | None = None, unit: str = "") -> Iterator[Advance]:
        """Open a stage; its last log line has the finished units, the seconds and the outcome."""
        done = 0
        started = time.monotonic()
        self._log.write("stage_started", stage=name, total=total, unit=unit)
        outcome = "interrupted"
        try:
            with self._inner.stage(name, total=total, unit=unit) as show:

                def advance(count: int) -> None:
                    nonlocal done
                    done += count
                    show(count)

                yield advance
            outcome = "done"
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
            raise
        finally:
            seconds = round(time.monotonic() - started, 3)
            self._log.write("stage_ended", stage=name, done=done, unit=unit, seconds=seconds, outcome=outcome)


def terminal_progress(*, quiet: bool = False) -> Progress:
    """Return bars on a terminal, otherwise no display (``quiet``, a pipe, a batch job)."""
    console = Console(stderr=True)
    return SilentProgress() if quiet or not console.is_terminal else RichProgress(console)


def _columns() -> tuple[TextColumn | BarColumn | MofNCompleteColumn | TimeElapsedColumn | TimeRemainingColumn, ...]:
    return (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
