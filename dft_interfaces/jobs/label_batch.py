"""The requests of one job: a single one, or several cheap ones."""

import hashlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dft_interfaces.engine import DFTEngine
from dft_interfaces.failures import failure_of
from dft_interfaces.files.atoms_json import atoms_from_dict
from dft_interfaces.jobs.result_files import finished_label, keep_result
from dft_interfaces.jobs.retry import labelled_with_retries
from dft_interfaces.label import Label, LabelStatus
from dft_interfaces.label_check import checked
from dft_interfaces.settings import EngineSettings, LimitSettings, RetrySettings


class LabelBatch(BaseModel):
    """Requests of one job, with everything that their calculation needs; stored as JSON.

    Attributes:
        folder: of the results.
        engine: the engine's block of the config.
        limits: of one calculation.
        retry: how often a calculation that failed is tried again.
        requests: request id -> structure (``atoms_as_dict``), calculated in this order.
        generation: how many jobs with these requests were lost before.
    """

    folder: Path
    engine: EngineSettings
    limits: LimitSettings
    retry: RetrySettings
    requests: dict[str, Any]
    generation: int = 0

    @property
    def job_name(self) -> str:
        """A hash of the requests, since pyiron silently returns the old result of a job with a known name."""
        parts = [*self.requests, str(self.generation)]
        return "label_" + hashlib.sha256(" ".join(parts).encode()).hexdigest()[:32]

    def labels(self, engine: DFTEngine) -> Iterator[tuple[str, Label]]:
        """Yield the label of each request; each is in its result file before the next calculation starts.

        A request that has a finished result already is not calculated again.
        """
        for request_id, atoms in self.requests.items():
            label = finished_label(self.folder, request_id)
            if label is None:
                label = self._calculated(engine, atoms)
                keep_result(self.folder, request_id, label)
            yield request_id, label

    def _calculated(self, engine: DFTEngine, structure: dict[str, Any]) -> Label:
        try:
            atoms = atoms_from_dict(structure)
            return checked(labelled_with_retries(engine, atoms, self.retry), atoms, engine.level_of_theory)
        except Exception as error:  # noqa: BLE001 - pyiron would swallow it and keep only its type
            fingerprint = engine.level_of_theory.fingerprint
            return Label(LabelStatus.FAILED, fingerprint, message=traceback.format_exc(), failure=failure_of(error))
