"""One step as one job of a queue: submitted once, found again after a crash, resubmitted when it is lost."""

import logging
import shutil
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from al_loop.errors import CampaignError, InputError
from al_loop.stages.queue_tasks import DONE, FAILED, PROGRESS, read_result
from al_loop.utils.foreign_input import reading
from al_loop.utils.progress import Advance, Progress, show_nothing
from dft_interfaces.queue.folder import OUTPUT_NAME, prepare_queue_folder, program_command
from dft_interfaces.queue.system import JobEnd, QueueSystem
from dft_interfaces.queue.tracking import JobTracker, TrackedJob
from dft_interfaces.settings import StageQueueSettings

logger = logging.getLogger("al_loop.stages")

IN_FLIGHT = "in_flight"
CHECK_S = 0.5
"""Interval between checks for the job's result file, which do not load the queue."""


class StepJob(TrackedJob):
    """The current job of a step."""

    lost: tuple[str, ...] = ()


class _Part(BaseModel):
    """Units done of a part of a step; a step without parts has the number 0."""

    done: int = 0
    part: int = 0
    name: str = ""
    total: int | None = None
    unit: str = ""


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

    def wait(self, advance: Advance = show_nothing, progress: Progress | None = None) -> dict[str, Any]:
        """Wait for the result of the step's program and return it.

        A job of an earlier start is found again. One that left the queue without a result is resubmitted, ``tries``
        jobs in all.

        Args:
            advance: called with the number of units done since the last call.
            progress: shows the parts of a step that has several.

        Raises:
            CampaignError: every job was lost, or the step itself failed; the message holds the reason.
            QueueError: the user's own queue folder describes no queue.
        """
        tracker = None
        with _Display(advance, progress) as display:
            while (done := self._finished()) is None:
                tracker = tracker or self._tracker()
                if not tracker.jobs:
                    tracker.add(StepJob(name=self.name, folder=self.folder))
                tracker.poll()
                time.sleep(min(CHECK_S, self.settings.poll_s))
                display.show(self._progress())
            display.show(self._progress())
        return done

    def _tracker(self) -> JobTracker[StepJob]:
        prepare_queue_folder(self.folder / "queues", self.settings)
        queue = QueueSystem(self.folder / "queues", self.settings.queue)
        command = program_command("al_loop.stages.queue_program", self.folder)
        return JobTracker(
            StepJob,
            self.folder / IN_FLIGHT,
            queue,
            self.settings.poll_s,
            start=lambda job: queue.submit(job.name, self.folder, command, self.cores, self.settings),
            is_complete=lambda _: (self.folder / FAILED).exists() or (self.folder / DONE).exists(),
            ended=self._again,
        )

    def _again(self, job: StepJob, end: JobEnd | None) -> list[StepJob]:
        """Return the job that continues after a lost one."""
        if end is None:
            return []
        lost = (*job.lost, end.reason)
        if len(lost) < self.settings.tries:
            logger.warning("%s: %s; it is submitted again", self.name, end.reason)
            return [StepJob(name=self.name, folder=self.folder, lost=lost)]
        self._forget()
        raise CampaignError(
            f"{self.name}: {len(lost)} jobs were lost ({'; '.join(lost)}). Last lines of "
            f"{self.folder / OUTPUT_NAME}:\n{job.last_output() or '(no output)'}\nFix the cause, or raise time_s or "
            "tries of the step's queue, and run the same command again: it continues where the last job stopped."
        )

    def _finished(self) -> dict[str, Any] | None:
        failed = read_result(self.folder / FAILED)
        if failed is not None:
            (self.folder / FAILED).unlink(missing_ok=True)
            self._forget()
            raise CampaignError(f"{self.name}: {failed.get('message')}")
        return read_result(self.folder / DONE)

    def _forget(self) -> None:
        """Remove the record of the job, so that the next start counts the tries from zero."""
        shutil.rmtree(self.folder / IN_FLIGHT, ignore_errors=True)

    def _progress(self) -> _Part:
        with suppress(InputError), reading(self.folder / PROGRESS, "no progress is shown"):
            return _Part.model_validate_json((self.folder / PROGRESS).read_bytes())
        return _Part()


class _Display(ExitStack):
    """Shows the progress of a job, with a stage for each part of its step."""

    def __init__(self, advance: Advance, progress: Progress | None) -> None:
        super().__init__()
        self._advance, self._progress = advance, progress
        self._part, self._shown = 0, 0

    def show(self, now: _Part) -> None:
        """Show progress; a restarted job may report less than was shown before."""
        if self._progress is not None and now.part != self._part:
            self.close()
            self._advance = self.enter_context(self._progress.stage(now.name, total=now.total, unit=now.unit))
            self._part, self._shown = now.part, 0
        if now.done > self._shown:
            self._advance(now.done - self._shown)
            self._shown = now.done
