"""Jobs of a queue from their submission to their end: found again after a crash, tried again when they are lost."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel

from dft_interfaces.errors import QueueError
from dft_interfaces.files.atomic_write import write_whole
from dft_interfaces.label import Failure
from dft_interfaces.output_tail import file_tail
from dft_interfaces.queue.folder import OUTPUT_NAME
from dft_interfaces.queue.system import JobEnd, QueueSystem

logger = logging.getLogger(__name__)

OUTPUT_LINES = 15


class TrackedJob(BaseModel):
    """A job that was, or is about to be, submitted, as it is recorded on disk.

    Attributes:
        name: of the job and its record.
        folder: in which it runs, of this job alone: the queue's list shows it.
        queue_id: its id in the queue, None before the queue has returned one.
        not_before: Unix time before which it is not submitted, s.
    """

    name: str
    folder: Path
    queue_id: int | None = None
    not_before: float = 0.0

    def last_output(self) -> str:
        """Return the last lines that it printed; empty if it printed none."""
        return file_tail(self.folder / OUTPUT_NAME, OUTPUT_LINES)


Job = TypeVar("Job", bound=TrackedJob)


class JobTracker(Generic[Job]):
    """Submits jobs and follows them until their results are there or they are lost.

    Results count, whatever the queue says; the queue only lists the jobs that wait or run. A job that left it without
    results was cancelled, ran out of time or lost its node; one that it refused is lost too. A queue that does not
    respond is queried again, and no job is lost.

    Every job is recorded before it is submitted, so that a process that starts again finds it, by its folder if the
    id was not recorded yet, and submits nothing twice.

    Args:
        kind: class of the jobs.
        records: folder of one small file for each job; created if needed.
        queue: where they are submitted.
        poll_s: pause between two queries of the queue.
        start: submits a job to the queue and returns its id.
        is_complete: whether all results of a job are there.
        ended: called with each job that is complete (None) or was lost; returns the jobs to submit in its place.

    Attributes:
        jobs: name -> job in flight, those of an earlier start included.
    """

    def __init__(
        self,
        kind: type[Job],
        records: Path,
        queue: QueueSystem,
        poll_s: float,
        *,
        start: Callable[[Job], int],
        is_complete: Callable[[Job], bool],
        ended: Callable[[Job, JobEnd | None], Iterable[Job]],
    ) -> None:
        records.mkdir(exist_ok=True)
        self._records, self._queue, self._poll_s = records, queue, poll_s
        self._start, self._is_complete, self._ended = start, is_complete, ended
        self._missing_once: set[str] = set()
        self._listed_once = False
        self._next_poll = 0.0
        self.jobs = {job.name: job for job in _recorded(kind, records)}
        if self.jobs:
            logger.info("%d jobs of an earlier start are still in flight", len(self.jobs))

    def add(self, job: Job) -> None:
        """Record a job, to be submitted by the next ``submit`` or ``poll``."""
        self.jobs[job.name] = job
        self._write(job)

    def submit(self) -> None:
        """Submit the jobs whose pause is over."""
        with self._retried():
            if not self._listed_once:
                self._listed()
            self._submit_due()

    def poll(self) -> None:
        """Find out which jobs have ended, and submit those that are due; queries the queue every ``poll_s`` at most."""
        if not self.jobs or time.monotonic() < self._next_poll:
            return
        self._next_poll = time.monotonic() + self._poll_s
        with self._retried():
            listed = self._listed()
            for job in list(self.jobs.values()):
                if job.queue_id is not None and job.queue_id not in listed:
                    self._left(job, job.queue_id)
            self._submit_due()

    @contextmanager
    def _retried(self) -> Iterator[None]:
        try:
            yield
        except QueueError as error:
            logger.warning("%s; trying again in %g s", error, self._poll_s)

    def _listed(self) -> dict[int, str]:
        """Return the queue's list, and record the ids of jobs that it accepted without a readable reply."""
        listed = self._queue.jobs()
        ids = {folder: queue_id for queue_id, folder in listed.items()}
        for job in self.jobs.values():
            if job.queue_id is None and str(job.folder) in ids:
                job.queue_id = ids[str(job.folder)]
                self._write(job)
        self._listed_once = True
        return listed

    def _submit_due(self) -> None:
        for job in list(self.jobs.values()):
            if job.queue_id is not None or job.not_before > time.time():
                continue
            if self._is_complete(job):  # it ran without this process
                self._close(job, None)
                continue
            try:
                job.queue_id = self._start(job)
            except QueueError as error:
                self._listed()  # raises if the queue does not respond, which is no refusal
                if job.queue_id is None:
                    self._close(job, JobEnd(Failure.CRASH, str(error)))
                continue
            self._write(job)
            logger.info("%s was submitted to the queue as job %d", job.name, job.queue_id)

    def _left(self, job: Job, queue_id: int) -> None:
        if self._is_complete(job):
            self._close(job, None)
        elif job.name in self._missing_once:
            self._close(job, self._queue.end_of(queue_id))
        else:
            self._missing_once.add(job.name)  # results may appear late on a network file system: check once more

    def _close(self, job: Job, end: JobEnd | None) -> None:
        successors = list(self._ended(job, end))
        self._missing_once.discard(job.name)
        del self.jobs[job.name]
        for successor in successors:
            self.add(successor)
        if job.name not in self.jobs:
            self._path(job).unlink(missing_ok=True)

    def _write(self, job: Job) -> None:
        write_whole(self._path(job), job.model_dump_json())

    def _path(self, job: Job) -> Path:
        return self._records / f"{job.name}.json"


def _recorded(kind: type[Job], records: Path) -> Iterator[Job]:
    for path in sorted(records.glob("*.json")):
        try:
            yield kind.model_validate_json(path.read_bytes())
        except (OSError, ValueError):
            logger.warning("the record %s of a job in flight cannot be read and is skipped", path, exc_info=True)
