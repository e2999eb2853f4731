"""A real calculator that keeps count: one line for each calculation it finished."""

import os
import time
from pathlib import Path

from ase.calculators.emt import EMT


class CountingEMT(EMT):
    """EMT that appends to a file when a calculation is done, after an optional pause.

    COUNTING_EMT_PAUSE_S pauses without being an argument, which the level of theory depends on.
    """

    def __init__(self, count_file, pause_s=0.0, **kwargs):
        super().__init__(**kwargs)
        self._count_file = Path(count_file)
        self._pause_s = pause_s

    def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)):
        super().calculate(atoms, list(properties), list(system_changes))
        time.sleep(self._pause_s or float(os.environ.get("COUNTING_EMT_PAUSE_S", "0")))
        with self._count_file.open("a") as file:
            file.write(f"{self.results['energy']!r}\n")


class BrokenEMT(EMT):
    """EMT that fails every time."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)):
        raise RuntimeError("EMT is broken")
