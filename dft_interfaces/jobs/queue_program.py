"""The program of a queue job, without pyiron and ledger: ``python -m dft_interfaces.jobs.queue_program FOLDER``."""

import json
import sys
from pathlib import Path

from dft_interfaces.files.sealed_json import sealed, unsealed
from dft_interfaces.isolation.engine import IsolatedEngine
from dft_interfaces.jobs.label_batch import LabelBatch

BATCH_NAME = "batch.json"


def write_batch(folder: Path, batch_json: str) -> None:
    """Write a batch to its job's folder, with a checksum: a damaged structure must not be calculated."""
    (folder / BATCH_NAME).write_text(sealed(json.loads(batch_json)), encoding="utf-8")


def main() -> None:
    """Calculate the batch in the folder given on the command line; the labels go to their result files."""
    batch = LabelBatch.model_validate(unsealed((Path(sys.argv[1]) / BATCH_NAME).read_text(encoding="utf-8")))
    with IsolatedEngine(batch.engine, batch.limits) as engine:
        for request_id, label in batch.labels(engine):
            sys.stdout.write(f"{request_id} is {label.status} after {label.cost_s:.1f} s\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
