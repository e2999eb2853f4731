"""Runs labels through a queue: many jobs in flight, one look at the queue at a time."""

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
    """Hands requests to a queue, each batch as one pyiron_base job, and collects their result files.

    The result files are the truth: the queue is only asked which jobs are still there. A job that left it without a
    result was cancelled, ran out of time, or lost its node; that is an attempt of its requests, and after a pause they
    are handed over again, as often as the retry settings allow. What a job had finished before stays.

    The jobs in flight are noted in the worker's folder before they are handed over, so that a worker that died finds
    them again under its name and hands nothing over twice.

    Args:
        folder: where everything is written, on a file system that the nodes see under the same path.
        engine: the engine's block of the config.
        worker_name: name of this worker, the same after a restart.
        queue: where jobs are handed over.
        limits: of one calculation.
        retry: how often a job that was lost is handed over again.

    Raises:
        DFTInterfaceError: as ``LabelRunner``; or the folder's path holds a space, which queues do not take.
        QueueError: the queue does not answer.
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
                self._engine.close()  # it was only asked for its level of theory
            if any(character.isspace() for character in str(self.folder)):
                raise DFTInterfaceError(f"received the folder {str(self.folder)!r}; queues take no path with a space")
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
        """How many more jobs may be handed over."""
        return max(0, self._settings.max_in_flight - len(self._jobs))

    def submit(self, requests: Mapping[str, Atoms]) -> None:
        """See ``LabelRunner.submit``; what is in flight already is not handed over again."""
        known = {request_id for job in self._jobs.values() for request_id in job.batch.requests}
        rest = self._without_finished({key: atoms for key, atoms in requests.items() if key not in known})
        if rest:
            for request_id in rest:  # a failure of former days must not be taken for this job's
                result_path(self.folder, request_id).unlink(missing_ok=True)
            self._add(QueuedJob(batch=self._batch(rest)))
            with self._retry_when_unreachable():
                self._submit_due()

    def collect(self) -> dict[str, Label]:
        """See ``LabelRunner.collect``; looks at the queue at most every ``poll_s``."""
        if self._jobs and time.monotonic() >= self._next_poll:
            self._next_poll = time.monotonic() + self._settings.poll_s
            with self._retry_when_unreachable():
                self._poll()
                self._submit_due()
        return super().collect()

    @contextmanager
    def _retry_when_unreachable(self) -> Iterator[None]:
        """Wait for a queue that does not answer: no job is lost by that."""
        try:
            yield
        except QueueError as error:
            logger.warning("%s; asked again in %g s", error, self._settings.poll_s)

    def _recover_jobs(self) -> None:
        """Learn the ids of jobs that were handed over by a worker that died before it could note them."""
        if any(job.queue_id is None for job in self._jobs.values()):
            self._record_ids(self._queue.jobs())
        if self._jobs:
            logger.info("%d jobs of an earlier start are still in flight", len(self._jobs))

    def _record_ids(self, listed: Mapping[int, str]) -> None:
        """Note the ids of jobs that the queue took without being heard."""
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
        """Submit what has not been submitted and whose pause is over; the queue's refusal is a lost job too.

        Raises:
            QueueError: the queue does not answer; what was to be submitted waits.
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
                self._record_ids(self._queue.jobs())  # one that does not answer has refused nothing
                if job.queue_id is not None:  # it was taken, and said so in words that nobody knows
                    continue
                self._handle_loss(job, list(job.batch.requests), Failure.CRASH, str(error))
                self._forget(job)
                continue
            self._records.write(job)
            logger.info("handed %d requests to the queue as job %d", len(job.batch.requests), job.queue_id)

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
        """Settle the jobs that have left the queue."""
        listed = self._queue.jobs()
        self._record_ids(listed)
        for job in list(self._jobs.values()):
            if job.queue_id is None or job.queue_id in listed:
                continue
            rest = self._without_result(job)
            if rest and job.name not in self._missing_once:
                self._missing_once.add(job.name)  # results may come late over a network file system: look once more
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
        except Exception:  # the job's own file is for people to look at; the results are safe
            logger.warning("the pyiron job %s could not be closed", job.name, exc_info=True)
        if rest:
            assert job.queue_id is not None  # noqa: S101 - it was in the queue
            end = self._queue.end_of(job.queue_id)
            self._handle_loss(
                job, rest, end.failure, f"job {job.queue_id} of the queue ended as {end.state} without a result"
            )
        self._forget(job)

    def _handle_loss(self, job: QueuedJob, rest: Sequence[str], failure: Failure, reason: str) -> None:
        """Hand over again what a lost job left, or give it up."""
        output = self.project.working_folder(job.name) / OUTPUT_NAME
        attempt = Attempt("queue job", LabelStatus.FAILED, failure, message=f"{reason}\n{_tail(output)}".strip())
        noted = job.with_loss(rest, attempt)
        again = list(noted.again(rest, self.retry, time.time()))
        for successor in again:
            self._add(successor)
        taken_over = {request_id for successor in again for request_id in successor.batch.requests}
        for request_id in rest:
            if request_id not in taken_over:
                self._ended[request_id] = self._given_up(noted.attempts[request_id])
        logger.warning("%s; %d of its %d requests are tried again", reason, len(taken_over), len(job.batch.requests))

    def _given_up(self, attempts: tuple[Attempt, ...]) -> Label:
        last = attempts[-1]
        message = f"given up after {len(attempts)} jobs: {last.message}"
        return Label(LabelStatus.FAILED, self.level, message=message, failure=last.failure, attempts=attempts)

    def _forget(self, job: QueuedJob) -> None:
        self._records.remove(job)
        del self._jobs[job.name]


def _tail(path: Path) -> str:
    """Return the last lines of a job's output, if it has any."""
    try:
        return last_lines(path.read_text(encoding="utf-8", errors="replace"), OUTPUT_LINES)
    except OSError:
        return ""
