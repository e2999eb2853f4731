"""Real calculators with bad manners towards processes: they give the right label and leave a mess."""

import locale
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from counting_emt import CountingEMT

SLEEP = ["sleep", "1000"]


class RudeEMT(CountingEMT):
    """EMT that does one of the methods below in each calculation.

    Args:
        how: names of methods, by turns.
        count_file: as for ``CountingEMT``.
        mark: environment variable that everything it starts carries, to be found by.
    """

    def __init__(self, how, count_file, mark="", **kwargs):
        super().__init__(count_file, **kwargs)
        self._how, self._mark, self._calls = list(how), mark, 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)):
        how = self._how[self._calls % len(self._how)]
        self._calls += 1
        if self._mark:
            os.environ["RUDE_MARK"] = self._mark
        getattr(self, how)()
        super().calculate(atoms, properties, system_changes)

    def leak(self):
        subprocess.Popen(SLEEP)

    def leak_stubborn(self):
        subprocess.Popen(["sh", "-c", "trap '' TERM INT HUP; sleep 1000; sleep 1000"])

    def leak_daemon(self):
        """Double fork, a session of its own, and the log held open."""
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execvp(SLEEP[0], SLEEP)  # noqa: S606
            os._exit(0)

    def leak_thread(self):
        threading.Thread(target=time.sleep, args=(1000,)).start()

    def ignore_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def come_back_twice(self):
        os.fork()

    def close_output(self):
        print("something that is not flushed")  # noqa: T201
        os.closerange(0, 3)

    def fill_output(self):
        os.write(1, b"x" * 2_000_000)

    def wander(self):
        """Into a folder that goes."""
        folder = tempfile.mkdtemp()
        os.chdir(folder)
        Path(folder).rmdir()

    def unsettle(self):
        os.environ.update(OMP_NUM_THREADS="7", LC_ALL="C", HOME="/nowhere")
        locale.setlocale(locale.LC_ALL, "C")
        os.umask(0o777)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002

    def leave(self):
        sys.exit(0)

    def leave_at_once(self):
        os._exit(0)


class ChangingEMT(CountingEMT):
    """EMT whose labels change their meaning after so many calculations.

    Args:
        count_file: as for ``CountingEMT``.
        after: how many labels are sound.
        forces: factor of the forces from then on.
        energy: factor of the energy.
        stress: factor of the stress.
        turned: hand the forces over in reversed order.
    """

    def __init__(self, count_file, after, forces=1.0, energy=1.0, stress=1.0, turned=False, **kwargs):
        super().__init__(count_file, **kwargs)
        self._after, self._forces, self._energy, self._stress, self._turned = after, forces, energy, stress, turned

    def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)):
        super().calculate(atoms, properties, system_changes)
        if len(self._count_file.read_text().split()) <= self._after:
            return
        self.results["forces"] = self.results["forces"][:: -1 if self._turned else 1] * self._forces
        for name in ("energy", "free_energy"):
            self.results[name] *= self._energy
        if "stress" in self.results:
            self.results["stress"] = self.results["stress"] * self._stress
