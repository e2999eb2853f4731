"""One pyiron_base job class for labels.

Importing this module imports pyiron_base, which reads its environment once and opens a log in the current folder:
only ``pyiron_project.WorkerProject`` does so, in a worker process, after preparing both.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyiron_base import PythonTemplateJob

from dft_interfaces.engine import DFTEngine
from dft_interfaces.files.label_json import label_as_dict
from dft_interfaces.jobs.label_batch import LabelBatch
from dft_interfaces.jobs.queue_program import write_batch
from dft_interfaces.label import Label, LabelStatus
from dft_interfaces.queue.folder import program_command
from dft_interfaces.queue.system import QueueSystem
from dft_interfaces.settings import QueueSettings


class LabelJob(PythonTemplateJob):  # type: ignore[misc]
    """Calculates the labels of a batch, in this process or in a queue.

    Input and output are JSON texts, which pyiron stores unchanged: it would turn empty dictionaries and tuples into
    lists, and would keep only the type of an exception. Here every outcome is a label, written to its result file
    before pyiron stores it.
    """

    label_engine: DFTEngine
    queue_system: QueueSystem
    queue_settings: QueueSettings

    def __init__(self, project: Any, job_name: str) -> None:
        super().__init__(project, job_name)
        self.input.batch = ""
        self.outcome: dict[str, Label] = {}

    def run_static(self) -> None:
        """Calculate in this process."""
        self.status.running = True
        for request_id, label in LabelBatch.model_validate_json(self.input.batch).labels(self.label_engine):
            self.outcome[request_id] = label
        self.record(self.outcome)

    def run_if_scheduler(self) -> int:
        """Submit the job to the queue.

        pyiron's own method would start the first ``python`` on the PATH, hide the queue's error message, and write its
        job table from the compute node, over a network file system on which SQLite must not be used.
        """
        self.project_hdf5.create_working_directory()
        folder = Path(self.working_directory)
        write_batch(folder, self.input.batch)
        command = program_command("dft_interfaces.jobs.queue_program", folder)
        queue_id = self.queue_system.submit(
            f"label_{self.job_id}", folder, command, self.server.cores, self.queue_settings
        )
        with self.server.unlocked():
            self.server.queue_id = queue_id
        return queue_id

    def record(self, labels: Mapping[str, Label]) -> None:
        """Store the labels and report to pyiron how the job ended."""
        self.output.labels = json.dumps({request_id: label_as_dict(label) for request_id, label in labels.items()})
        self.to_hdf()
        found = {label.status for label in labels.values()}
        if found <= {LabelStatus.CONVERGED}:
            self.status.finished = True
        elif found <= {LabelStatus.CONVERGED, LabelStatus.UNCONVERGED}:
            self.status.not_converged = True
        else:
            self.status.aborted = True
