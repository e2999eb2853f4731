"""A real calculator that writes down what it was asked about."""

import json
from pathlib import Path

from ase.calculators.emt import EMT


class RecordingEMT(EMT):
    """EMT that appends charge, spin multiplicity and initial moments of each calculation to a file."""

    def __init__(self, record_file, **kwargs):
        super().__init__(**kwargs)
        self._record_file = Path(record_file)

    def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)):
        super().calculate(atoms, list(properties), list(system_changes))
        received = {
            "charge": atoms.info.get("charge"),
            "spin": atoms.info.get("spin"),
            "moments": atoms.get_initial_magnetic_moments().tolist(),
        }
        with self._record_file.open("a") as file:
            file.write(json.dumps(received) + "\n")
