"""A worker's own pyiron project: its folder, database, queue, log, and the process's signal handlers."""

import fcntl
import logging
import os
import re
import shutil
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import chdir, closing, contextmanager, redirect_stdout
from pathlib import Path
from typing import IO, Any

from dft_interfaces.errors import DFTInterfaceError
from dft_interfaces.jobs.label_batch import LabelBatch
from dft_interfaces.queue.folder import prepare_queue_folder
from dft_interfaces.settings import QueueSettings

logger = logging.getLogger(__name__)

_WORKER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_MAX_PATH_BYTES = 500
"""SQLite accepts 512 bytes, including the suffix of its journal."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGABRT)


class WorkerProject:
    """The pyiron project of one worker; no other process opens its job table.

    Takes over the process: sets pyiron's environment variables, and works only in the main thread (pyiron installs
    signal handlers; the caller's are restored after each job).

    Attributes:
        home: the worker's folder.
        queue_folder: pysqa's folder; empty without a queue.
        jobs: pyiron's folder of the jobs.

    Raises:
        DFTInterfaceError: not in the main thread, an unusable name, a path that is too long, or the name is in use by a
            living process.
    """

    def __init__(self, folder: Path, worker_name: str, queue: QueueSettings | None = None) -> None:
        require_main_thread()
        if not _WORKER_NAME.fullmatch(worker_name):
            raise DFTInterfaceError(
                f"received the worker name {worker_name!r}, expected letters, digits and _, a letter first"
            )
        self.home = home = folder / worker_name
        if (length := len(os.fsencode(home / "jobs.db"))) > _MAX_PATH_BYTES:
            raise DFTInterfaceError(
                f"received a folder whose path is too long for a job table ({length} bytes, at most "
                f"{_MAX_PATH_BYTES}): {folder}; choose a folder nearer to the root"
            )
        home.mkdir(parents=True, exist_ok=True)
        self._lock = locked(home / "lock")
        try:
            resources = home / "resources"
            resources.mkdir(exist_ok=True)
            self.queue_folder = resources / "queues"
            if queue is not None:  # pyiron reads the description of its queue while it is imported
                prepare_queue_folder(self.queue_folder, queue)
            _remove_if_damaged(home / "jobs.db")
            self._project = open_project(home)
            self.jobs = Path(self._project.path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the worker name."""
        self._lock.close()

    def new_job(self, batch: LabelBatch) -> Any:
        """Return a job for a batch that did not run yet; files of an earlier attempt are removed."""
        from dft_interfaces.jobs.pyiron_job import LabelJob

        require_main_thread()
        self._remove(batch.job_name)
        with silenced():
            job = self._project.create_job(LabelJob, batch.job_name)
        job.input.batch = batch.model_dump_json()
        return job

    def load(self, job_name: str) -> Any:
        """Return a job that was created before."""
        with silenced():
            return self._project.load(job_name)

    def _remove(self, job_name: str) -> None:
        """Remove a job without opening its file, which a crash may have damaged."""
        job_id = self._project.get_job_id(job_name)
        if job_id is not None:
            self._project.db.delete_item(job_id)
        shutil.rmtree(self.jobs / f"{job_name}_hdf5", ignore_errors=True)
        (self.jobs / f"{job_name}.h5").unlink(missing_ok=True)


def run(job: Any) -> None:
    """Run a job, or submit it to its queue, without its announcements and with the caller's signal handlers."""
    with signals_restored(), silenced():
        job.run()


@contextmanager
def silenced() -> Iterator[None]:
    """Keep pyiron's announcement of every job off the worker's output."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


def open_project(home: Path) -> Any:
    """Import pyiron_base so that it writes only inside ``home``, and open a project there.

    Raises:
        DFTInterfaceError: pyiron_base was imported before, for another folder.
    """
    _set_environment(home)
    # pyiron opens pyiron.log in the folder that is current while it is imported.
    with chdir(home):
        import pyiron_base
    from pyiron_base.state import state

    logging.getLogger("pyiron_log").propagate = False  # it has a file of its own

    used = Path(state.settings.configuration["sql_file"])
    if used != home / "jobs.db":
        raise DFTInterfaceError(
            f"pyiron_base was imported before with the job table {used}, expected {home / 'jobs.db'}: start each "
            "worker in a process of its own"
        )
    return pyiron_base.Project(str(home / "jobs"))


def _remove_if_damaged(job_table: Path) -> None:
    """Remove a job table that SQLite cannot read: nothing depends on it, and pyiron makes a new one."""
    if not job_table.exists():
        return
    try:
        with closing(sqlite3.connect(job_table)) as table:
            (found,) = table.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        logger.warning("the job table %s is damaged (%s) and is replaced; no result depends on it", job_table, found)
        job_table.unlink()


def _set_environment(home: Path) -> None:
    """Keep pyiron inside ``home``: any other PYIRON variable could direct it to another database."""
    for key in [key for key in os.environ if key.startswith("PYIRON")]:
        del os.environ[key]
    os.environ["PYIRONSQLFILE"] = str(home / "jobs.db")
    os.environ["PYIRONRESOURCEPATHS"] = str(home / "resources")
    os.environ["PYIRONPROJECTPATHS"] = str(home)


def locked(path: Path) -> IO[str]:
    """Open and lock a file for as long as this process lives; the system frees it even after a crash.

    Raises:
        DFTInterfaceError: another process holds the lock.
    """
    file = path.open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise DFTInterfaceError(
            f"the worker name {path.parent.name} is in use by another process ({path}); choose another name or end "
            "that process"
        ) from error
    return file


def require_main_thread() -> None:
    """Check that pyiron may install its signal handlers.

    Raises:
        DFTInterfaceError: called from another thread than the main one.
    """
    if threading.current_thread() is not threading.main_thread():
        raise DFTInterfaceError("labels run as pyiron jobs only in a process's main thread; start a worker process")


@contextmanager
def signals_restored() -> Iterator[None]:
    """Restore the caller's signal handlers afterwards: pyiron leaves the system's defaults."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
