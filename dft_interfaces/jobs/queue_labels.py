"""Run labels through a queue with many jobs in flight."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from logging import getLogger
from pathlib import Path
from typing import Self

from ase import Atoms
from pydantic import Field

from dft_interfaces.errors import DFTInterfaceError
from dft_interfaces.jobs.label_batch import LabelBatch
from dft_interfaces.jobs.pyiron_labels import LabelRunner
from dft_interfaces.jobs.pyiron_project import run
from dft_interfaces.jobs.result_files import read_result, result_path
from dft_interfaces.label import Attempt, Label, LabelStatus
from dft_interfaces.queue.limits import job_cores
from dft_interfaces.queue.system import JobEnd, QueueSystem
from dft_interfaces.queue.tracking import JobTracker, TrackedJob
from dft_interfaces.settings import EngineSettings, LimitSettings, QueueSettings, RetrySettings

logger = getLogger(__name__)


class QueuedJob(TrackedJob):
    """A batch in a queue, with the outcomes of earlier jobs by request id."""

    batch: LabelBatch
    attempts: dict[str, tuple[Attempt, ...]] = Field(default_factory=dict)

    @classmethod
    def of(cls, batch: LabelBatch, project: Path) -> Self:
        """Return the job of a batch in the folder of a pyiron project."""
        name = batch.job_name
        return cls(name=name, folder=project / f"{name}_hdf5" / name, batch=batch)

    def with_attempts(self, request_id: str, label: Label) -> Label:
        """Return a label that also lists the jobs that were lost before."""
        before = self.attempts.get(request_id, ())
        if not before:
            return label
        return replace(label, attempts=before + (label.attempts or (label.as_attempt(""),)))

    def with_loss(self, rest: Sequence[str], attempt: Attempt) -> Self:
        """Return this job with a loss recorded.

        A job that finished some requests was lost in the next one, and only that request gets the attempt. If it
        finished none, all requests get the attempt, so that the number of jobs is bounded.
        """
        failed = rest if len(rest) == len(self.batch.requests) else rest[:1]
        new = {request_id: (*self.attempts.get(request_id, ()), attempt) for request_id in failed}
        return self.model_copy(update={"attempts": self.attempts | new})

    def successors(self, rest: Sequence[str], retry: RetrySettings, now_s: float) -> Iterator["QueuedJob"]:
        """Yield the jobs for the remaining requests: one for that in which this job was lost, one for the others."""
        left = [request_id for request_id in rest if len(self.attempts.get(request_id, ())) < retry.tries]
        for group in ([key for key in left if key == rest[0]], [key for key in left if key != rest[0]]):
            if group:
                attempts = {key: self.attempts[key] for key in group if key in self.attempts}
                losses = max((len(tried) for tried in attempts.values()), default=1)
                pause_s = retry.delay_s * retry.delay_factor ** (losses - 1)
                requests = {key: self.batch.requests[key] for key in group}
                update = {"requests": requests, "generation": self.batch.generation + 1}
                batch = self.batch.model_copy(update=update)
                job = QueuedJob.of(batch, self.folder.parents[1])
                yield job.model_copy(update={"not_before": now_s + pause_s, "attempts": attempts})


class QueueRunner(LabelRunner):
    """Submits requests to a queue, each batch as one pyiron_base job, and collects their result files.

    A job that left the queue without all its results is an attempt of its requests, and after a pause they are
    submitted again, as often as the retry settings allow. Results that a lost job finished stay.

    The jobs in flight are recorded in the worker's folder, so that a worker restarted under the same name finds them.

    Raises:
        DFTInterfaceError: as ``LabelRunner``; or the folder's path holds a space, which queues do not accept.
        QueueError: the user's own queue folder describes no queue.
    """

    def __init__(
        self,
        folder: Path,
        engine: EngineSettings,
        worker_name: str,
        queue: QueueSettings,
        limits: LimitSettings | None = None,
        retry: RetrySettings | None = None,
    ) -> None:
        super().__init__(folder, engine, worker_name, limits, retry, queue)
        try:
            self._engine.close()  # only its level of theory was needed
            if any(character.isspace() for character in str(self.folder)):
                raise DFTInterfaceError(
                    f"received the folder {str(self.folder)!r}, expected a path without a space, which queues do not "
                    "accept"
                )
            self._settings = queue
            self._queue = QueueSystem(self.project.queue_folder, queue.queue)
            self._tracker = JobTracker(
                QueuedJob,
                self.project.home / "in_flight",
                self._queue,
                queue.poll_s,
                start=self._start,
                is_complete=lambda job: not self._without_result(job),
                ended=self._successors,
            )
        except BaseException:
            self.close()
            raise

    @property
    def room(self) -> int:
        """How many more jobs may be submitted."""
        return max(0, self._settings.max_in_flight - len(self._tracker.jobs))

    def submit(self, requests: Mapping[str, Atoms]) -> None:
        """See ``LabelRunner.submit``; requests that are in flight already are not submitted again."""
        known = {request_id for job in self._tracker.jobs.values() for request_id in job.batch.requests}
        rest = self._without_finished({key: atoms for key, atoms in requests.items() if key not in known})
        if rest:
            for request_id in rest:  # an old failure must not be taken for this job's result
                result_path(self.folder, request_id).unlink(missing_ok=True)
            self._tracker.add(QueuedJob.of(self._batch(rest), self.project.jobs))
            self._tracker.submit()

    def collect(self) -> dict[str, Label]:
        """See ``LabelRunner.collect``; queries the queue at most every ``poll_s``."""
        self._tracker.poll()
        return super().collect()

    def _start(self, queued: QueuedJob) -> int:
        job = self.project.new_job(queued.batch)
        job.queue_system, job.queue_settings = self._queue, self._settings
        job.server.cores = job_cores(self._settings, self.engine)
        job.server.queue = self._queue.queue
        run(job)
        return int(job.server.queue_id)

    def _without_result(self, job: QueuedJob) -> list[str]:
        return [request_id for request_id in job.batch.requests if read_result(self.folder, request_id) is None]

    def _successors(self, job: QueuedJob, end: JobEnd | None) -> list[QueuedJob]:
        """Take the results of a job that ended; give the remaining requests up, or return the jobs that try again."""
        found = {request_id: read_result(self.folder, request_id) for request_id in job.batch.requests}
        labels = {key: job.with_attempts(key, label) for key, label in found.items() if label is not None}
        self._ended |= labels
        if job.queue_id is not None or labels:  # the queue did not refuse it
            self._record(job, labels)
        rest = [request_id for request_id in found if request_id not in labels]
        if end is None or not rest:
            return []
        message = f"{end.reason}\n{job.last_output()}".strip()
        lost = job.with_loss(rest, Attempt("queue job", LabelStatus.FAILED, end.failure, message=message))
        successors = list(lost.successors(rest, self.retry, time.time()))
        again = {request_id for successor in successors for request_id in successor.batch.requests}
        self._ended |= {key: self._given_up(lost.attempts[key]) for key in rest if key not in again}
        logger.warning("%s; %d of its %d requests are tried again", end.reason, len(again), len(found))
        return successors

    def _record(self, job: QueuedJob, labels: Mapping[str, Label]) -> None:
        try:
            self.project.load(job.name).record(labels)
        except Exception:  # the job's own file is only for inspection; the results are safe
            logger.warning("the pyiron job %s could not be closed", job.name, exc_info=True)

    def _given_up(self, attempts: tuple[Attempt, ...]) -> Label:
        last = attempts[-1]
        message = f"given up after {len(attempts)} jobs: {last.message}"
        return Label(LabelStatus.FAILED, self.level, message=message, failure=last.failure, attempts=attempts)
