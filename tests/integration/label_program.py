"""Labels requests in a process of its own, as a worker does; prints one JSON line for each.

``python label_program.py FOLDER WORKER SETTINGS REQUEST...``, where a request is ``element-seed`` or ``water-seed``.
"""

import json
import signal
import sys
from pathlib import Path

from ase.build import bulk, molecule
from pydantic import TypeAdapter

from dft_interfaces.label_json import label_as_dict
from dft_interfaces.pyiron_labels import LabelRunner
from dft_interfaces.settings import EngineSettings


def structure(request_id):
    name, seed = request_id.split("-")
    atoms = molecule("H2O") if name == "water" else bulk(name, cubic=True)
    atoms.rattle(0.05, seed=int(seed))
    return atoms


def main():
    folder, worker, settings, *requests = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: None)
    handler = signal.getsignal(signal.SIGTERM)
    with LabelRunner(Path(folder), TypeAdapter(EngineSettings).validate_json(settings), worker) as runner:
        for request_id in requests:
            label = runner.run(request_id, structure(request_id))
            sys.stdout.write(json.dumps(label_as_dict(label)) + "\n")
            sys.stdout.flush()
    if signal.getsignal(signal.SIGTERM) is not handler:
        sys.exit("the caller's signal handler was lost")


if __name__ == "__main__":
    main()
