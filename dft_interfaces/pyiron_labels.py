"""Runs labels as pyiron_base jobs, inside a worker process and nowhere else."""

import hashlib
import json
import re
import shutil
import traceback
from pathlib import Path
from types import TracebackType
from typing import Self

from ase import Atoms

from dft_interfaces.atoms_json import atoms_as_dict
from dft_interfaces.errors import DFTInterfaceError
from dft_interfaces.label import Label, LabelStatus
from dft_interfaces.label_check import checked
from dft_interfaces.label_json import label_from_dict
from dft_interfaces.pyiron_project import (
    locked,
    open_project,
    require_main_thread,
    signals_restored,
    silenced,
)
from dft_interfaces.result_files import finished_label, write_result
from dft_interfaces.settings import ASECalculatorSettings, GPAWSettings, PySCFSettings

__all__ = ["LabelRunner", "finished_label"]

_WORKER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


class LabelRunner:
    """Calculates requests one after another, each as one pyiron_base job in this worker's own project.

    Every worker has its own project and job table under ``folder/workers/<worker_name>``: two of them that run the
    same request (after a lost lease) cannot disturb each other's files. ``folder/results`` is shared; nothing is
    decided from a job table.

    Takes over the process: sets pyiron's environment variables, and runs only in the main thread (pyiron installs
    signal handlers, which are put back after each label).

    Args:
        folder: where everything is written.
        settings: the engine's block of the config.
        worker_name: name of this worker, the same after a restart so that its project is used again.

    Raises:
        DFTInterfaceError: not in the main thread, an unusable name, or the name is in use by a living process.
        EngineNotInstalledError: the engine's library is missing.
        EngineSettingsError: settings that the engine cannot carry out.
    """

    def __init__(
        self, folder: Path, settings: PySCFSettings | GPAWSettings | ASECalculatorSettings, worker_name: str
    ) -> None:
        require_main_thread()
        if not _WORKER_NAME.fullmatch(worker_name):
            raise DFTInterfaceError(
                f"received the worker name {worker_name!r}, expected letters, digits and _, a letter first"
            )
        self._folder = folder.resolve()
        self._home = self._folder / "workers" / worker_name
        self._settings_json = settings.model_dump_json()
        self._home.mkdir(parents=True, exist_ok=True)
        self._lock = locked(self._home / "lock")
        try:
            self._project = open_project(self._home)
            from dft_interfaces.pyiron_job import engine_for

            self._level = engine_for(self._settings_json).level_of_theory
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the worker name free."""
        self._lock.close()

    def run(self, request_id: str, atoms: Atoms) -> Label:
        """Return the label of a request: the finished one if there is one, else calculated now.

        Never raises for a calculation that fails; its traceback is in the message.

        Args:
            request_id: content hash of structure and level of theory; letters, digits, - and _.
            atoms: the structure.

        Raises:
            DFTInterfaceError: an id that is no plain file name, a finished result under this id that belongs to another
            structure or level, or not in the main thread.
        """
        require_main_thread()
        label = finished_label(self._folder, request_id)
        if label is not None:
            self._require_fit(request_id, label, atoms)
            return label
        job_name = _job_name(request_id)
        label = self._of_finished_job(job_name)
        if label is not None:
            self._require_fit(request_id, label, atoms)
            write_result(self._folder, request_id, label)
            return label
        self._remove_job(job_name)
        return self._calculate(request_id, job_name, atoms)

    def _calculate(self, request_id: str, job_name: str, atoms: Atoms) -> Label:
        from dft_interfaces.pyiron_job import LabelJob

        job, message = None, "the pyiron job ended without a result"
        try:
            with signals_restored(), silenced():
                job = self._project.create_job(LabelJob, job_name)
                job.input.request_id = request_id
                job.input.folder = str(self._folder)
                job.input.atoms = json.dumps(atoms_as_dict(atoms))
                job.input.settings = self._settings_json
                job.run()
        except Exception:  # noqa: BLE001 - pyiron's own trouble (a full disk, a broken file) is an outcome too
            message = traceback.format_exc()
        outcome: Label | None = getattr(job, "outcome", None)
        return outcome or Label(LabelStatus.FAILED, self._level.fingerprint, message=message)

    def _require_fit(self, request_id: str, label: Label, atoms: Atoms) -> None:
        """Refuse a finished label of another level or structure: neither to use it nor to overwrite it is right."""
        fits = label.level_of_theory == self._level.fingerprint and checked(label, atoms, self._level) is label
        if not fits:
            raise DFTInterfaceError(
                f"the finished result of request {request_id} (level {label.level_of_theory}) does not belong to this "
                f"structure of {len(atoms)} atoms at level {self._level.fingerprint} ({self._level.summary}); expected "
                "request ids that are hashes of structure and level: use another folder"
            )

    def _of_finished_job(self, job_name: str) -> Label | None:
        job_id = self._project.get_job_id(job_name)
        if job_id is None or self._project.get_job_status(job_id) not in {"finished", "not_converged"}:
            return None
        try:
            with silenced():
                return label_from_dict(json.loads(self._project.load(job_name).output.label))
        except Exception:  # noqa: BLE001 - whatever a damaged file raises: it is calculated again
            return None

    def _remove_job(self, job_name: str) -> None:
        """Remove what an earlier attempt left, without opening its file, which a crash may have damaged."""
        job_id = self._project.get_job_id(job_name)
        if job_id is not None:
            self._project.db.delete_item(job_id)
        base = Path(self._project.path)
        shutil.rmtree(base / f"{job_name}_hdf5", ignore_errors=True)
        (base / f"{job_name}.h5").unlink(missing_ok=True)


def _job_name(request_id: str) -> str:
    """Return a hash of the request: pyiron reuses old results under an old name in silence."""
    return "label_" + hashlib.sha256(request_id.encode()).hexdigest()[:32]
