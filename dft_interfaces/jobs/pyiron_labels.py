"""Run labels as pyiron_base jobs, only inside a worker process."""

import logging
from collections.abc import Mapping
from pathlib import Path

from ase import Atoms

from dft_interfaces.errors import DFTInterfaceError
from dft_interfaces.files.atoms_json import atoms_as_dict
from dft_interfaces.isolation.closing import Closing
from dft_interfaces.isolation.engine import IsolatedEngine
from dft_interfaces.jobs.label_batch import LabelBatch
from dft_interfaces.jobs.pyiron_project import WorkerProject, run
from dft_interfaces.jobs.result_files import finished_label
from dft_interfaces.label import Label
from dft_interfaces.label_check import checked
from dft_interfaces.settings import EngineSettings, LimitSettings, QueueSettings, RetrySettings

logger = logging.getLogger(__name__)


class LabelRunner(Closing):
    """Calculates requests in this process, one pyiron_base job at a time, in this worker's own project.

    Every worker has its own project and job table under ``folder/workers/<worker_name>``: two of them that run the
    same request (after a lost lease) cannot disturb each other's files. ``folder/results`` is shared and is the only
    source of results; the job tables decide nothing.

    Takes over the process: see ``WorkerProject``.

    Args:
        folder: where everything is written.
        engine: the engine's block of the config.
        worker_name: name of this worker, the same after a restart so that its project is used again.
        limits: of one calculation.
        retry: how often a calculation that failed is tried again.
        queue: where jobs are submitted, for ``QueueRunner`` only.

    Raises:
        DFTInterfaceError: not in the main thread, an unusable name, or the name is in use by a living process.
        EngineNotInstalledError: the engine's library is missing.
        EngineSettingsError: settings that the engine cannot carry out.
        EngineFailureError: the engine's process ended before the engine was built.
    """

    def __init__(
        self,
        folder: Path,
        engine: EngineSettings,
        worker_name: str,
        limits: LimitSettings | None = None,
        retry: RetrySettings | None = None,
        queue: QueueSettings | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.engine = engine
        self.limits = limits or LimitSettings()
        self.retry = retry or RetrySettings()
        self._ended: dict[str, Label] = {}
        self.project = WorkerProject(self.folder / "workers", worker_name, queue)
        try:
            self._engine = IsolatedEngine(engine, self.limits)
        except BaseException:
            self.project.close()
            raise
        self._level = self._engine.level_of_theory

    def close(self) -> None:
        """End the engine's process and release the worker name."""
        self._engine.close()
        self.project.close()

    @property
    def level(self) -> str:
        """Fingerprint of the level of theory."""
        return self._level.fingerprint

    @property
    def room(self) -> int:
        """How many more jobs may be started."""
        return 1

    def submit(self, requests: Mapping[str, Atoms]) -> None:
        """Start the calculation of requests that share one job; ``collect`` returns their labels.

        Args:
            requests: request id (content hash of structure and level of theory; letters, digits, - and _) ->
                structure. Those with a finished result already are not calculated again.

        Raises:
            DFTInterfaceError: an id that is no plain file name, a finished result under an id that belongs to another
                structure or level, or not in the main thread.
        """
        rest = self._without_finished(requests)
        if rest:
            self._ended |= self._calculated(self._batch(rest))

    def collect(self) -> dict[str, Label]:
        """Return the labels of the requests that have ended since the last call.

        A calculation that failed is a label too, with its traceback in the message.
        """
        ended, self._ended = self._ended, {}
        return ended

    def _without_finished(self, requests: Mapping[str, Atoms]) -> dict[str, Atoms]:
        """Take the finished results of requests, and return the requests that have none."""
        finished = {request_id: finished_label(self.folder, request_id) for request_id in requests}
        for request_id, label in finished.items():
            if label is not None:
                self._require_fit(request_id, label, requests[request_id])
                self._ended[request_id] = label
        return {request_id: atoms for request_id, atoms in requests.items() if finished[request_id] is None}

    def _batch(self, requests: Mapping[str, Atoms]) -> LabelBatch:
        return LabelBatch(
            folder=self.folder,
            engine=self.engine,
            limits=self.limits,
            retry=self.retry,
            requests={request_id: atoms_as_dict(atoms) for request_id, atoms in requests.items()},
        )

    def _calculated(self, batch: LabelBatch) -> dict[str, Label]:
        outcome: dict[str, Label] = {}
        try:
            job = self.project.new_job(batch)
            outcome, job.label_engine = job.outcome, self._engine
            run(job)
        except Exception:
            # A full disk or a lost job table: the ledger does not need pyiron, and the next labels would fail too.
            logger.exception("pyiron could not store the job %s; its labels are calculated without it", batch.job_name)
        rest = {request_id: atoms for request_id, atoms in batch.requests.items() if request_id not in outcome}
        return outcome | dict(batch.model_copy(update={"requests": rest}).labels(self._engine))

    def _require_fit(self, request_id: str, label: Label, atoms: Atoms) -> None:
        """Refuse a finished label of another level or structure, which may be neither used nor overwritten."""
        fits = label.level_of_theory == self.level and checked(label, atoms, self._level) is label
        if not fits:
            raise DFTInterfaceError(
                f"the finished result of request {request_id} (level {label.level_of_theory}) does not belong to this "
                f"structure of {len(atoms)} atoms at level {self.level} ({self._level.summary}); expected "
                "request ids that are hashes of structure and level: use another folder"
            )
