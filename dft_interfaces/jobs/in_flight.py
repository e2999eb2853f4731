"""Records of the jobs in flight on disk, so that a restarted worker finds them."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel

from dft_interfaces.files.atomic_write import write_whole
from dft_interfaces.jobs.label_batch import LabelBatch
from dft_interfaces.label import Attempt, Label
from dft_interfaces.settings import RetrySettings

logger = logging.getLogger(__name__)


class QueuedJob(BaseModel):
    """A batch that was, or is about to be, submitted to a queue.

    Attributes:
        batch: the requests that it calculates.
        queue_id: its id in the queue, None before it was submitted.
        not_before: Unix time before which it is not submitted, s.
        attempts: request id -> outcomes of earlier jobs with this request.
    """

    batch: LabelBatch
    queue_id: int | None = None
    not_before: float = 0.0
    attempts: dict[str, tuple[Attempt, ...]] = {}

    @property
    def name(self) -> str:
        """Name of its pyiron job."""
        return self.batch.job_name

    def with_attempts(self, request_id: str, label: Label) -> Label:
        """Return a label that also lists the jobs that were lost before."""
        before = self.attempts.get(request_id, ())
        if not before:
            return label
        return replace(label, attempts=before + (label.attempts or (label.as_attempt(""),)))

    def with_loss(self, rest: Sequence[str], attempt: Attempt) -> "QueuedJob":
        """Return this job with a loss recorded.

        A job that finished some requests was lost in the next one, and only that request gets the attempt. If it
        finished none, all requests get the attempt, so that the number of jobs is bounded.

        Args:
            rest: requests without a result, in the order of the batch.
            attempt: the outcome of the job.
        """
        failed = rest if len(rest) == len(self.batch.requests) else rest[:1]
        new = {request_id: (*self.attempts.get(request_id, ()), attempt) for request_id in failed}
        return self.model_copy(update={"attempts": self.attempts | new})

    def successors(self, rest: Sequence[str], retry: RetrySettings, now_s: float) -> Iterator["QueuedJob"]:
        """Yield the jobs for the remaining requests: one for that in which this job was lost, one for the others.

        Args:
            rest: requests without a result, in the order of the batch.
            retry: number of tries and pauses.
            now_s: Unix time.
        """
        left = [request_id for request_id in rest if len(self.attempts.get(request_id, ())) < retry.tries]
        alone = [request_id for request_id in left if request_id == rest[0]]
        for group in (alone, [request_id for request_id in left if request_id != rest[0]]):
            if group:
                attempts = {key: self.attempts[key] for key in group if key in self.attempts}
                losses = max((len(tried) for tried in attempts.values()), default=1)
                pause_s = retry.delay_s * retry.delay_factor ** (losses - 1)
                requests = {key: self.batch.requests[key] for key in group}
                update = {"requests": requests, "generation": self.batch.generation + 1}
                batch = self.batch.model_copy(update=update)
                yield QueuedJob(batch=batch, not_before=now_s + pause_s, attempts=attempts)


class JobRecords:
    """One small file for each job in flight.

    Args:
        folder: where they are stored; created if needed.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder

    def read(self) -> dict[str, QueuedJob]:
        """Return name -> job; a file that cannot be read is skipped with a warning."""
        jobs = {}
        for path in sorted(self._folder.glob("*.json")):
            try:
                job = QueuedJob.model_validate_json(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                logger.warning("the record %s of a job in flight cannot be read and is skipped", path, exc_info=True)
                continue
            jobs[job.name] = job
        return jobs

    def write(self, job: QueuedJob) -> None:
        """Record a job atomically."""
        write_whole(self._path(job), job.model_dump_json())

    def remove(self, job: QueuedJob) -> None:
        """Remove the record of a job that has ended."""
        self._path(job).unlink(missing_ok=True)

    def _path(self, job: QueuedJob) -> Path:
        return self._folder / f"{job.name}.json"
