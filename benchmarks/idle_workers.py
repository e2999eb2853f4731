"""Time in which an idle worker had work it could have taken, while a campaign explores, labels and trains.

    python benchmarks/idle_workers.py [--quick]

A campaign on copper under SevenNet-0 with two workers and an engine that takes 20 s for a label and leaves the cores to
others. A request is available from its creation; the busy times of a worker are in its log. A worker that
has not started yet counts as idle. Also printed: the time of a round's first label request, as a share of
the time of exploring and selecting.
"""

import argparse
import os
import re
import tempfile
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from figures import at_most

from al_loop import Campaign, load_config
from al_loop.ledger import open_ledger
from al_loop.utils.campaign_folder import LOGS

LONG_S, QUICK_S = 20.0, 2.0
WORKERS = 2
_LINE = re.compile(r"^(\S+ \S+),(\d+) al_loop\.label\.claims (claimed )?(\w{32})( is )?")
Span = tuple[float, float]


class SleepingEMT(EMT):
    """EMT that takes as long as a small DFT calculation.

    Args:
        seconds: for each structure.
        kwargs: EMT's own.
    """

    def __init__(self, seconds: float, **kwargs) -> None:
        super().__init__(**kwargs)
        self._seconds = seconds

    def calculate(self, atoms=None, properties=("energy",), system_changes=()) -> None:
        """Calculate, then sleep."""
        super().calculate(atoms, list(properties), list(system_changes))
        time.sleep(self._seconds)


def written_config(folder: Path, seconds: float, *, quick: bool) -> Path:
    """Write a campaign's config and structure; return the config's path."""
    write(folder / "copper.cif", bulk("Cu", cubic=True))
    path = folder / "copper.yaml"
    path.write_text(
        f"""
name: idle
folder: {folder / "run"}
rounds: {1 if quick else 2}
foundation: {{kind: sevennet, model: 7net-0}}
committee: {{members: 4}}
systems: [{{file: copper.cif}}]
explore: {{temperatures_K: [600], timestep_fs: 2.0, steps: {20 if quick else 200}, check_every: 5, replicas: 6}}
hold_out: {{test_frames: 4, calibration_frames: 4}}
select: {{labels_per_round: 12}}
label:
  workers: {WORKERS}
  engine: {{engine: ase, calculator: idle_workers.SleepingEMT, arguments: {{seconds: {seconds}}}}}
"""
    )
    return path


def busy_spans(log: Path) -> dict[str, Span]:
    """When a worker held each request, by its id: seconds since 1970."""
    begun, spans = {}, {}
    for line in log.read_text().splitlines():
        if not (match := _LINE.match(line)):
            continue
        moment = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp() + int(match[2]) / 1000
        if match[3]:
            begun[match[4]] = moment
        elif match[5]:
            spans[match[4]] = (begun[match[4]], moment)
    return spans


def idle_share(asked_at: dict[str, float], workers: list[dict[str, Span]], wall_s: float) -> float:
    """Time in which at least one worker was idle and at least one request waited, over wall time."""
    claimed = {key: begun for spans in workers for key, (begun, _) in spans.items()}
    waiting = [(asked_at[key], claimed[key]) for key in asked_at]
    edges = sorted({edge for span in (*waiting, *(s for w in workers for s in w.values())) for edge in span})
    idle = 0.0
    for start, end in pairwise(edges):
        middle = (start + end) / 2
        busy = sum(any(begun < middle < ended for begun, ended in spans.values()) for spans in workers)
        if busy < len(workers) and any(begun < middle < ended for begun, ended in waiting):
            idle += end - start
    return idle / wall_s


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round of shorter labels; under a minute")
    quick = parser.parse_args().quick
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # where workers find SleepingEMT
    seconds = QUICK_S if quick else LONG_S
    with tempfile.TemporaryDirectory(prefix="idle-") as temporary:
        config = load_config(written_config(Path(temporary), seconds, quick=quick))
        begun = time.monotonic()
        rounds = Campaign(config).run()
        wall_s = time.monotonic() - begun
        workers = [busy_spans(path) for path in sorted((config.folder / LOGS).glob("worker_*.log"))]
        with open_ledger(config.store, config.folder, config.name) as ledger:
            stored = ledger._collection(ledger._docs.request).find({}, {"created_at": 1})
            asked_at = {r["_id"]: r["created_at"].replace(tzinfo=UTC).timestamp() for r in stored}
            stages = [ledger.stages(report.round) for report in rounds]
    idle = idle_share(asked_at, workers, wall_s)
    chosen_s = [sum(s["seconds"] for n, s in one.items() if n.startswith(("explore", "select"))) for one in stages]
    first_s = [one["explore"]["seconds"] + one["select"]["seconds"] for one in stages]
    at_most("idle worker with work it could have taken, share of wall time", idle, 0.05)
    at_most("first labels requested, share of exploring and selecting", sum(first_s) / sum(chosen_s), 0.6)


if __name__ == "__main__":
    main()
