"""Prepares a worker process for pyiron_base: its own project, database, log and signal handlers."""

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stdout
from pathlib import Path
from typing import IO, Any

from dft_interfaces.errors import DFTInterfaceError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGABRT)


@contextmanager
def silenced() -> Iterator[None]:
    """Keep pyiron's announcement of every job off the worker's output."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


def open_project(home: Path) -> Any:
    """Import pyiron_base so that everything it writes lies in ``home``, and open a project there.

    Raises:
        DFTInterfaceError: pyiron_base was imported before, for another folder.
    """
    _set_environment(home)
    # pyiron opens pyiron.log in the folder that is current while it is imported.
    with chdir(home):
        import pyiron_base
    from pyiron_base.state import state

    used = Path(state.settings.configuration["sql_file"])
    if used != home / "jobs.db":
        raise DFTInterfaceError(
            f"pyiron_base was imported before with the job table {used}, expected {home / 'jobs.db'}: start each "
            "worker in a process of its own"
        )
    return pyiron_base.Project(str(home / "jobs"))


def _set_environment(home: Path) -> None:
    """Keep pyiron inside ``home``: any other PYIRON variable could lead it to another database."""
    for key in [key for key in os.environ if key.startswith("PYIRON")]:
        del os.environ[key]
    resources = home / "resources"
    resources.mkdir(exist_ok=True)
    os.environ["PYIRONSQLFILE"] = str(home / "jobs.db")
    os.environ["PYIRONRESOURCEPATHS"] = str(resources)
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
    """Put the caller's signal handlers back: pyiron leaves the system's defaults behind."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
