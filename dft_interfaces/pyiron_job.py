"""One label as one pyiron_base job.

Importing this module imports pyiron_base, which reads its environment once and opens a log in the current folder:
only ``pyiron_labels.LabelRunner`` does so, in a worker process, after it has prepared both.
"""

import functools
import json
import traceback
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pyiron_base import PythonTemplateJob

from dft_interfaces.atoms_json import atoms_from_dict
from dft_interfaces.engine import DFTEngine
from dft_interfaces.engines import build_engine
from dft_interfaces.label import Label, LabelStatus
from dft_interfaces.label_check import checked
from dft_interfaces.label_json import label_as_dict
from dft_interfaces.result_files import write_result
from dft_interfaces.settings import EngineSettings


class LabelJob(PythonTemplateJob):  # type: ignore[misc]
    """Calculates one label; input and output are JSON texts, which pyiron stores unchanged.

    pyiron would turn empty dictionaries into lists and tuples into lists, and would keep only the type of an
    exception; here every outcome is a label, written to its result file before pyiron hears of it.
    """

    def __init__(self, project: Any, job_name: str) -> None:
        super().__init__(project, job_name)
        self.input.request_id = ""
        self.input.folder = ""
        self.input.atoms = ""
        self.input.settings = ""
        self.outcome: Label | None = None

    def run_static(self) -> None:
        """Calculate, write the result file, and only then report to pyiron."""
        self.status.running = True
        label = _calculated(self.input.atoms, self.input.settings)
        self.outcome = label
        write_result(Path(self.input.folder), self.input.request_id, label)
        self.output.label = json.dumps(label_as_dict(label))
        self.to_hdf()
        self._report(label.status)

    def _report(self, status: LabelStatus) -> None:
        if status is LabelStatus.CONVERGED:
            self.status.finished = True
        elif status is LabelStatus.UNCONVERGED:
            self.status.not_converged = True
        else:
            self.status.aborted = True


@functools.lru_cache(maxsize=2)
def engine_for(settings_json: str) -> DFTEngine:
    """Build an engine once for each process: a learned teacher takes seconds to load."""
    return build_engine(TypeAdapter(EngineSettings).validate_json(settings_json))


def _calculated(atoms_json: str, settings_json: str) -> Label:
    engine = engine_for(settings_json)
    try:
        atoms = atoms_from_dict(json.loads(atoms_json))
        return checked(engine.label(atoms), atoms, engine.level_of_theory)
    except Exception:  # noqa: BLE001 - pyiron would swallow it and keep only its type
        return Label(LabelStatus.FAILED, engine.level_of_theory.fingerprint, message=traceback.format_exc())
