"""One step as one job of a queue: submitted once, found again after a crash, resubmitted when it is lost."""

import json
import logging
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from al_loop.errors import CampaignError, InputError
from al_loop.stages.queue_folder import DONE, FAILED, NOTE, PROGRESS, read_result, stage_command
from al_loop.utils.foreign_input import reading
from al_loop.utils.progress import Advance, show_nothing
from dft_interfaces.errors import QueueError
from dft_interfaces.files.atomic_write import write_whole
from dft_interfaces.output_tail import last_lines
from dft_interfaces.queue.folder import OUTPUT_NAME, prepare_queue_folder
from dft_interfaces.queue.system import QueueSystem
from dft_interfaces.settings import StageQueueSettings

logger = logging.getLogger("al_loop.stages")

OUTPUT_LINES = 15
CHECK_S = 0.5
"""Interval between checks for the job's result file, which do not load the queue."""


class _Note(BaseModel):
    """State of a step's jobs.

    Attributes:
        queue_id: of the current job; None before the queue has returned one.
        lost: reason why each earlier job was lost.
    """

    queue_id: int | None = None
    lost: list[str] = []


@dataclass
class StageJob:
    """A step that runs in a queue.

    Args:
        folder: of this step alone, with its task file; below the campaign's folder.
        name: of the job in the queue and in messages.
        settings: of the queue.
        cores: of the job.
    """

    folder: Path
    name: str
    settings: StageQueueSettings
    cores: int

    def wait(self, advance: Advance = show_nothing) -> dict[str, Any]:
        """Wait for the result of the step's program and return it.

        A job of an earlier start is found again. One that left the queue without a result is resubmitted, ``tries``
        jobs in all.

        Args:
            advance: called with the number of units done since the last call.

        Raises:
            CampaignError: every job was lost, or the step itself failed; the message holds the reason.
        """
        shown = 0
        queue, next_poll, note, gone = None, 0.0, self._read_note(), False
        while (done := self._finished()) is None:
            if time.monotonic() >= next_poll:
                next_poll = time.monotonic() + self.settings.poll_s
                try:
                    queue = queue or self._queue()
                    note, gone = self._poll(queue, note, gone=gone)
                except QueueError as error:
                    logger.warning("%s; the queue is queried again in %g s", error, self.settings.poll_s)
            time.sleep(min(CHECK_S, self.settings.poll_s))
            shown += _advanced(advance, self._progress() - shown)
        _advanced(advance, self._progress() - shown)
        return done

    def _poll(self, queue: QueueSystem, note: _Note | None, *, gone: bool) -> tuple[_Note, bool]:
        """Submit the job, or check that it is still listed; a job is lost if two checks miss it."""
        listed = queue.jobs()
        note = note or _Note()
        if note.queue_id is None:  # the process died before it received the id, or the note was lost
            note.queue_id = next((number for number, place in listed.items() if place == str(self.folder)), None)
            if note.queue_id is not None:
                self._write_note(note)
        if note.queue_id is None:
            return self._submit(queue, note), False
        if note.queue_id in listed:
            return note, False
        if not gone:  # files may appear late on a network file system
            return note, True
        end = queue.end_of(note.queue_id)
        return self._lost(note, f"job {note.queue_id} of the queue ended as {end.state}"), False

    def _submit(self, queue: QueueSystem, note: _Note) -> _Note:
        self._write_note(note)
        memory_GB = self.settings.memory_GB
        limits = {
            "run_time_max": math.ceil(self.settings.time_s),
            "memory_max": None if memory_GB is None else math.ceil(memory_GB),
        }
        try:
            note.queue_id = queue.submit(self.name, self.folder, stage_command(self.folder), self.cores, **limits)
        except QueueError as error:
            queue.jobs()  # raises if the queue does not respond: then the job was not refused
            return self._lost(note, str(error))
        self._write_note(note)
        logger.info("%s was submitted to the queue as job %d", self.name, note.queue_id)
        return note

    def _lost(self, note: _Note, reason: str) -> _Note:
        note = _Note(lost=[*note.lost, reason])
        if len(note.lost) < self.settings.tries:
            self._write_note(note)
            logger.warning("%s: %s without having finished; submitted again", self.name, reason)
            return note
        (self.folder / NOTE).unlink(missing_ok=True)  # the next start counts from zero
        raise CampaignError(
            f"{self.name}: {len(note.lost)} jobs were lost ({'; '.join(note.lost)}). Last lines of "
            f"{self.folder / OUTPUT_NAME}:\n{_tail(self.folder / OUTPUT_NAME)}\nFix the cause, or raise time_s or "
            "tries of the step's queue, and run the same command again: it continues where the last job stopped."
        )

    def _finished(self) -> dict[str, Any] | None:
        failed = read_result(self.folder / FAILED)
        if failed is not None:
            for name in (FAILED, NOTE):
                (self.folder / name).unlink(missing_ok=True)
            raise CampaignError(f"{self.name}: {failed.get('message')}")
        return read_result(self.folder / DONE)

    def _progress(self) -> int:
        with suppress(InputError), reading(self.folder / PROGRESS, "no progress is shown"):
            return int(json.loads((self.folder / PROGRESS).read_bytes())["done"])
        return 0

    def _queue(self) -> QueueSystem:
        resources = self.folder / "resources"
        resources.mkdir(exist_ok=True)
        return QueueSystem(prepare_queue_folder(resources, self.settings), self.settings.queue)

    def _read_note(self) -> _Note | None:
        path = self.folder / NOTE
        if not path.exists():
            return None
        try:
            with reading(path, "its job is looked for in the queue, and submitted again if it is not there"):
                return _Note.model_validate_json(path.read_bytes())
        except InputError as error:
            logger.warning("%s", error)
            return None

    def _write_note(self, note: _Note) -> None:
        write_whole(self.folder / NOTE, note.model_dump_json())


def _advanced(advance: Advance, count: int) -> int:
    """Show progress; a restarted job may report less than was shown before."""
    if count > 0:
        advance(count)
    return max(count, 0)


def _tail(path: Path) -> str:
    try:
        return last_lines(path.read_text(encoding="utf-8", errors="replace"), OUTPUT_LINES)
    except OSError:
        return "(no output)"
