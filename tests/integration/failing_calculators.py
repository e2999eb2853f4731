"""Real calculators that fail in every way a program can."""

import contextlib
import ctypes
import hashlib
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from ase.calculators.calculator import SCFError
from ase.calculators.emt import EMT


class FailingEMT(EMT):
    """EMT that fails as it is told.

    Args:
        how: one of the methods below; empty for plain EMT.
        times: only so often, counted in ``count_file``; always without one.
    """

    def __init__(self, how="", count_file=None, times=0, **kwargs):
        super().__init__(**kwargs)
        self._how, self._times = how, times
        self._count_file = None if count_file is None else Path(count_file)

    def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)):
        super().calculate(atoms, list(properties), list(system_changes))
        if self._how and self._due():
            getattr(self, self._how)()

    def _due(self):
        if self._count_file is None:
            return True
        with self._count_file.open("a") as file:
            file.write("x")
        return self._count_file.stat().st_size <= self._times

    def segfault(self):
        ctypes.string_at(0)

    def leave(self):
        os.write(2, b"the last lines\n")
        os._exit(3)

    def kill(self):
        os.kill(os.getpid(), 9)

    def hang(self):
        """As a program in a session of its own would hang below the engine."""
        subprocess.run(["sleep", "1000"], start_new_session=True, check=True)

    def hang_in_c(self):
        """Holds the interpreter's lock meanwhile."""
        subprocess.Popen(["sleep", "1000"])
        ctypes.PyDLL(None).sleep(1000)

    def hang_up(self):
        """Closes all its files, as a daemon does, and lives on with a program below it."""
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        os.closerange(3, 4096)
        time.sleep(1000)

    def say_and_hang(self):
        print("printed by Python")  # noqa: T201
        os.write(1, b"printed by compiled code\n")
        (Path(tempfile.mkdtemp()) / "program.out").write_text("written by a program\n")
        time.sleep(1000)

    def say_and_raise(self):
        print("cycle 7 did not look well")  # noqa: T201
        raise RuntimeError("something is wrong with it")

    def print_without_end(self):
        """A few hundred megabytes, then waits for its log to be looked at."""
        for _ in range(300):
            os.write(1, b"%999d\n" % 0 * 1000)
        time.sleep(1.5)
        os.write(1, b"the last lines\n")
        os._exit(3)

    def hog(self):
        self.hoarded = [np.ones(2**22) for _ in range(64)]  # 2 GB
        time.sleep(60)

    def memory_error(self):
        np.empty(2**55)

    def not_finite(self):
        self.results["forces"][0, 0] = np.nan

    def no_energy(self):
        self.results.update(energy=np.nan, free_energy=np.nan)

    def wrong_shape(self):
        self.results["forces"] = self.results["forces"][1:]

    def net_force(self):
        self.results["forces"] += [0.0, 0.0, 0.5]

    def absurd(self):
        self.results["forces"][:2] = [[3e5, 0, 0], [-3e5, 0, 0]]

    def no_output(self):
        Path("no-such-output.xml").read_text()

    def disk_full(self):
        with Path("/dev/full").open("w") as file:
            file.write("x")

    def talk(self):
        """Prints what could be mistaken for an answer."""
        print('{"answer": 1}\n' * 1000)  # noqa: T201
        os.write(1, b'{"answer": 1}\n' * 1000)

    def raise_error(self):
        raise RuntimeError("something is wrong with it")

    def unconverged(self):
        raise SCFError("no convergence in 100 steps")

    def another_system(self):
        """The energy is that of some other cell; its forces look right."""
        for name in ("energy", "free_energy"):
            self.results[name] += 250.0

    def other_forces(self):
        self.results["forces"] *= 2000.0


class SometimesFailingEMT(FailingEMT):
    """EMT that fails on some frames, each time in the same way.

    Args:
        folder: remembers how each frame fails, across processes.
        ways: of failing, by turns; empty for a good label.
    """

    def __init__(self, folder, ways, **kwargs):
        super().__init__(**kwargs)
        self._folder, self._ways = Path(folder), ways

    def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)):
        self._how = self._way_of(hashlib.sha256(atoms.positions.tobytes()).hexdigest()[:16])
        super().calculate(atoms, properties, system_changes)

    def _way_of(self, frame):
        self._folder.mkdir(exist_ok=True)
        for number in range(1000):
            way = self._ways[number % len(self._ways)]
            place = self._folder / f"{number:03d}-{way}"
            with contextlib.suppress(FileExistsError):
                place.symlink_to(frame)  # atomic, unlike a file that is written
            if place.readlink() == Path(frame):
                return way
        raise RuntimeError("too many frames")
