"""Labels requests in a process of its own, as a worker does; prints one JSON line for each.

``python label_program.py FOLDER WORKER SETTINGS REQUEST...``: settings are those of ``label`` in a config, a request is
``element-seed`` or ``water-seed``, and requests joined by ``+`` share a job.
"""

import json
import logging
import signal
import sys
import time
from pathlib import Path

from ase.build import bulk, molecule

from al_loop.config.settings import LabelSettings
from al_loop.tools.workers.worker import runner_for
from dft_interfaces.files.label_json import label_as_dict


def structure(request_id):
    name, seed = request_id.split("-")
    atoms = molecule("H2O") if name == "water" else bulk(name, cubic=True)
    atoms.rattle(0.05, seed=int(seed))
    return atoms


def main():
    folder, worker, settings, *jobs = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: None)
    handler = signal.getsignal(signal.SIGTERM)
    with runner_for(LabelSettings.model_validate_json(settings), Path(folder), worker) as runner:
        waiting = [job.split("+") for job in jobs]
        missing = [request_id for job in waiting for request_id in job]
        while missing:
            if waiting and runner.room:
                runner.submit({request_id: structure(request_id) for request_id in waiting.pop(0)})
            for request_id, label in runner.collect().items():
                if request_id not in missing:  # it came with the jobs of an earlier start
                    continue
                missing.remove(request_id)
                sys.stdout.write(json.dumps({request_id: label_as_dict(label)}) + "\n")
                sys.stdout.flush()
            if not waiting:
                time.sleep(0.05)
    if signal.getsignal(signal.SIGTERM) is not handler:
        sys.exit("the caller's signal handler was lost")


if __name__ == "__main__":
    main()
