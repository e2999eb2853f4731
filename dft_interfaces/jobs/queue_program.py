"""What a job of the queue runs, without pyiron and ledger: ``python -m dft_interfaces.jobs.queue_program FOLDER``."""

import json
import shlex
import sys
from pathlib import Path

from dft_interfaces.files.sealed_json import sealed, unsealed
from dft_interfaces.isolation.engine import IsolatedEngine
from dft_interfaces.jobs.label_batch import LabelBatch

BATCH_NAME = "batch.json"


def batch_command(folder: Path) -> str:
    """Return the command of a job, with the interpreter of this very environment whatever the PATH of the node says."""
    return shlex.join([sys.executable, "-m", "dft_interfaces.jobs.queue_program", str(folder)])


def write_batch(folder: Path, batch_json: str) -> None:
    """Put a batch where its job finds it, with a checksum: a structure that was damaged must not be calculated."""
    (folder / BATCH_NAME).write_text(sealed(json.loads(batch_json)), encoding="utf-8")


def main() -> None:
    """Calculate the batch in the folder that is named; the labels go to their result files."""
    batch = LabelBatch.model_validate(unsealed((Path(sys.argv[1]) / BATCH_NAME).read_text(encoding="utf-8")))
    with IsolatedEngine(batch.engine, batch.limits) as engine:
        for request_id, label in batch.labels(engine):
            sys.stdout.write(f"{request_id} is {label.status} after {label.cost_s:.1f} s\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
