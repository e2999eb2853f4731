"""``al-loop`` in a process of its own, without the seconds that importing its libraries takes each time.

The process is forked from one that does nothing but import them: it shares nothing with the tests or with another
command, gets its own environment, folder and output, and may be killed like any other.
"""

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(
    ["al_loop.campaign", "al_loop.cli", "al_loop.stages.queue_program", "fairchem.core", "committee.backbones.fairchem"]
)

OBEY_PERMISSIONS = "AL_LOOP_TEST_OBEY_PERMISSIONS"  # in a command's environment: root obeys them like anybody


class ForkedCommand:
    """A running ``al-loop WORDS...``, to be asked and ended as a ``subprocess.Popen``.

    Args:
        words: of the command line.
        output: file to which it appends what it says.
        environment: its variables, no others.
        folder: where it runs.
        errors: file for standard error, if not the same.
    """

    def __init__(self, words, output, environment, folder, errors=None):
        self._words = [str(word) for word in words]
        arguments = (self._words, (str(output), str(errors or output)), dict(environment), str(folder))
        self._process = FORKSERVER.Process(target=_run, args=arguments, daemon=True)
        self._process.start()

    @property
    def pid(self):
        return self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._words, timeout)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def terminate(self):
        self.send_signal(signal.SIGTERM)


def _run(words, outputs, environment, folder):
    for stream, path in enumerate(outputs, start=1):
        with Path(path).open("ab") as file:
            os.dup2(file.fileno(), stream)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    if OBEY_PERMISSIONS in environment:
        _obey_permissions()
    os.chdir(folder)
    sys.path.insert(0, environment["PYTHONPATH"])
    sys.argv = ["al-loop", *words]
    from al_loop.cli import main

    main()


def _obey_permissions():
    """Take from this process, and from all that it starts, root's right to read and write what it likes."""
    override, read_search, drop_from_bounding_set = 1, 2, 24
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (override, read_search):
        libc.prctl(drop_from_bounding_set, capability, 0, 0, 0)  # refused to those who have none, who need it not
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc.capget(header, sets)
    for index in range(3):  # effective, permitted, inheritable
        sets[index] &= ~(1 << override | 1 << read_search)
    libc.capset(header, sets)
