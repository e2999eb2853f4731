"""Run labels through a queue with many jobs in flight."""

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ase import Atoms

from dft_interfaces.errors import DFTInterfaceError, QueueError
from dft_interfaces.jobs.in_flight import JobRecords, QueuedJob
from dft_interfaces.jobs.label_batch import LabelBatch
from dft_interfaces.jobs.pyiron_labels import LabelRunner
from dft_interfaces.jobs.pyiron_project import run
from dft_interfaces.jobs.result_files import read_result, result_path
from dft_interfaces.label import Attempt, Failure, Label, LabelStatus
from dft_interfaces.output_tail import last_lines
from dft_interfaces.queue.folder import OUTPUT_NAME
from dft_interfaces.queue.limits import job_cores
from dft_interfaces.queue.system import QueueSystem
from dft_interfaces.settings import EngineSettings, LimitSettings, QueueSettings, RetrySettings

logger = logging.getLogger(__name__)

OUTPUT_LINES = 15


class QueueRunner(LabelRunner):
    """Submits requests to a queue, each batch as one pyiron_base job, and collects their result files.

    Results come only from the result files; the queue only lists the jobs that still wait or run. A job that left the
    queue without a result was cancelled, ran out of time, or lost its node; that is an attempt of its requests, and
    after a pause they are submitted again, as often as the retry settings allow. Results that a lost job finished stay.

    The jobs in flight are recorded in the worker's folder before submission, so that a worker restarted under the same
    name finds them and submits nothing twice.

    Args:
        folder: where everything is written, on a file system that the nodes see under the same path.
        engine: the engine's block of the config.
        worker_name: name of this worker, the same after a restart.
        queue: where jobs are submitted.
        limits: of one calculation.
        retry: how often a lost job is submitted again.

    Raises:
        DFTInterfaceError: as ``LabelRunner``; or the folder's path holds a space, which queues do not accept.
        QueueError: the queue does not respond.
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
            if self._engine is not None:
                self._engine.close()  # only its level of theory was needed
            if any(character.isspace() for character in str(self.folder)):
                raise DFTInterfaceError(
                    f"received the folder {str(self.folder)!r}, expected a path without a space, which queues do not "
                    "accept"
                )
            self._settings = queue
            if self.project.queue_folder is None:
                raise QueueError("expected a queue, received none")
            self._queue = QueueSystem(self.project.queue_folder, queue.queue)
            self._records = JobRecords(self.project.home / "in_flight")
            self._jobs = self._records.read()
            self._missing_once: set[str] = set()
            self._next_poll = 0.0
            self._recover_jobs()
        except BaseException:
            self.close()
            raise

    @property
    def room(self) -> int:
        """How many more jobs may be submitted."""
        return max(0, self._settings.max_in_flight - len(self._jobs))

    def submit(self, requests: Mapping[str, Atoms]) -> None:
        """See ``LabelRunner.submit``; requests that are in flight already are not submitted again."""
        known = {request_id for job in self._jobs.values() for request_id in job.batch.requests}
        rest = self._without_finished({key: atoms for key, atoms in requests.items() if key not in known})
        if rest:
            for request_id in rest:  # an old failure must not be taken for this job's result
                result_path(self.folder, request_id).unlink(missing_ok=True)
            self._add(QueuedJob(batch=self._batch(rest)))
            with self._retry_when_unreachable():
                self._submit_due()

    def collect(self) -> dict[str, Label]:
        """See ``LabelRunner.collect``; queries the queue at most every ``poll_s``."""
        if self._jobs and time.monotonic() >= self._next_poll:
            self._next_poll = time.monotonic() + self._settings.poll_s
            with self._retry_when_unreachable():
                self._poll()
                self._submit_due()
        return super().collect()

    @contextmanager
    def _retry_when_unreachable(self) -> Iterator[None]:
        """Warn and continue if the queue does not respond; the next poll tries again, and no job is lost."""
        try:
            yield
        except QueueError as error:
            logger.warning("%s; trying again in %g s", error, self._settings.poll_s)

    def _recover_jobs(self) -> None:
        """Find the ids of jobs submitted by a worker that ended before it could record them."""
        if any(job.queue_id is None for job in self._jobs.values()):
            self._record_ids(self._queue.jobs())
        if self._jobs:
            logger.info("%d jobs of an earlier start are still in flight", len(self._jobs))

    def _record_ids(self, listed: Mapping[int, str]) -> None:
        """Record the ids of jobs that the queue accepted without a readable reply."""
        numbers = {folder: number for number, folder in listed.items()}
        for job in self._jobs.values():
            number = numbers.get(str(self.project.working_folder(job.name)))
            if job.queue_id is None and number is not None:
                job.queue_id = number
                self._records.write(job)

    def _add(self, job: QueuedJob) -> None:
        self._records.write(job)
        self._jobs[job.name] = job

    def _submit_due(self) -> None:
        """Submit the jobs whose pause is over; a job that the queue refuses counts as lost.

        Raises:
            QueueError: the queue does not respond; the jobs wait.
        """
        for job in list(self._jobs.values()):
            if job.queue_id is not None or job.not_before > time.time():
                continue
            if not self._without_result(job):  # it ran without this worker
                self._settle(job, ())
                continue
            try:
                job.queue_id = self._submitted(job.batch)
            except QueueError as error:
                self._record_ids(self._queue.jobs())  # raises if the queue does not respond, which is no refusal
                if job.queue_id is not None:  # the queue accepted it, but its reply could not be parsed
                    continue
                self._handle_loss(job, list(job.batch.requests), Failure.CRASH, str(error))
                self._forget(job)
                continue
            self._records.write(job)
            logger.info("submitted %d requests to the queue as job %d", len(job.batch.requests), job.queue_id)

    def _submitted(self, batch: LabelBatch) -> int:
        job = self.project.new_job(batch)
        job.queue_system = self._queue
        job.server.cores = job_cores(self._settings, self.engine)
        job.server.run_time = self._settings.time_s
        if self._settings.memory_GB is not None:
            job.server.memory_limit = math.ceil(self._settings.memory_GB)
        job.server.queue = self._queue.queue
        run(job)
        return int(job.server.queue_id)

    def _poll(self) -> None:
        """Collect the results of the jobs that have left the queue."""
        listed = self._queue.jobs()
        self._record_ids(listed)
        for job in list(self._jobs.values()):
            if job.queue_id is None or job.queue_id in listed:
                continue
            rest = self._without_result(job)
            if rest and job.name not in self._missing_once:
                self._missing_once.add(job.name)  # results may arrive late on a network file system: check once more
                continue
            self._settle(job, rest)

    def _without_result(self, job: QueuedJob) -> list[str]:
        return [request_id for request_id in job.batch.requests if read_result(self.folder, request_id) is None]

    def _settle(self, job: QueuedJob, rest: Sequence[str]) -> None:
        self._missing_once.discard(job.name)
        labels = {}
        for request_id in job.batch.requests:
            label = read_result(self.folder, request_id)
            if label is not None:
                labels[request_id] = self._ended[request_id] = job.with_attempts(request_id, label)
        try:
            self.project.load(job.name).record(labels)
        except Exception:  # the job's own file is only for inspection; the results are safe
            logger.warning("the pyiron job %s could not be closed", job.name, exc_info=True)
        if rest:
            assert job.queue_id is not None  # noqa: S101 - it was in the queue
            end = self._queue.end_of(job.queue_id)
            self._handle_loss(
                job, rest, end.failure, f"job {job.queue_id} of the queue ended as {end.state} without a result"
            )
        self._forget(job)

    def _handle_loss(self, job: QueuedJob, rest: Sequence[str], failure: Failure, reason: str) -> None:
        """Submit the remaining requests of a lost job again, or give them up."""
        output = self.project.working_folder(job.name) / OUTPUT_NAME
        attempt = Attempt("queue job", LabelStatus.FAILED, failure, message=f"{reason}\n{_tail(output)}".strip())
        lost = job.with_loss(rest, attempt)
        successors = list(lost.successors(rest, self.retry, time.time()))
        for successor in successors:
            self._add(successor)
        retried = {request_id for successor in successors for request_id in successor.batch.requests}
        for request_id in rest:
            if request_id not in retried:
                self._ended[request_id] = self._given_up(lost.attempts[request_id])
        logger.warning("%s; %d of its %d requests are tried again", reason, len(retried), len(job.batch.requests))

    def _given_up(self, attempts: tuple[Attempt, ...]) -> Label:
        last = attempts[-1]
        message = f"given up after {len(attempts)} jobs: {last.message}"
        return Label(LabelStatus.FAILED, self.level, message=message, failure=last.failure, attempts=attempts)

    def _forget(self, job: QueuedJob) -> None:
        self._records.remove(job)
        del self._jobs[job.name]


def _tail(path: Path) -> str:
    """Return the last lines of a job's output; empty if it cannot be read."""
    try:
        return last_lines(path.read_text(encoding="utf-8", errors="replace"), OUTPUT_LINES)
    except OSError:
        return ""
