"""Overhead of a label beyond the engine's own time: the claim, the pyiron job, the isolation, the ledger.

    python benchmarks/label_overhead.py [--quick]

One worker process of a campaign, a private MongoDB server, labels of copper: wall time of a batch of requests, less the
time that the engine reports, for each label. A worker's first label is about a second slower. In the full run it
counts, as one of many; with --quick it is made beforehand, since it would weigh too much among few.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from figures import at_most

from al_loop.config import Config
from al_loop.ledger import Ledger, open_ledger
from al_loop.records import Frame, GateCheck, Role, Verdict, VerdictKind
from al_loop.tools.workers.worker_pool import WorkerPool, wait_for_labels
from al_loop.utils.campaign_folder import LOGS
from al_loop.utils.content_hash import frame_id
from al_loop.utils.event_log import EventLog
from dft_interfaces.engines import build_engine

LONG_S = 20.0
QUICK_S = 3.0  # replaces the long label with --quick; its overhead is still compared with LONG_S


class WorkingEMT(EMT):
    """EMT that keeps a core busy for as long as a small DFT calculation."""

    def __init__(self, seconds: float, **kwargs) -> None:
        super().__init__(**kwargs)
        self._seconds = seconds

    def calculate(self, atoms=None, properties=("energy",), system_changes=()) -> None:  # noqa: ARG002
        """Repeat the calculation until the time is over."""
        end = time.perf_counter() + self._seconds
        while time.perf_counter() < end:
            super().calculate(atoms, list(properties), ["positions", "cell", "numbers", "pbc"])


def overhead_s(
    folder: Path, labels: int, *, seconds: float = 0.0, labels_per_job: int = 1, first_apart: bool = False
) -> float:
    """Return wall time per label beyond the engine's own, s.

    Args:
        folder: of the campaign; made.
        labels: how many are measured.
        seconds: how long the engine takes for one.
        labels_per_job: as in the config.
        first_apart: let the worker make one more label beforehand, which is not measured.
    """
    config = campaign(folder, seconds, labels_per_job)
    (folder / LOGS).mkdir(parents=True)
    level = build_engine(config.label.engine).level_of_theory.fingerprint
    with (
        open_ledger(config.store, folder, config.name) as ledger,
        WorkerPool(config, EventLog(folder / "log.jsonl")) as pool,
    ):
        pool.start()
        while "is ready" not in (folder / LOGS / "worker_000.log").read_text():
            time.sleep(0.1)
        if first_apart:
            request_labels(ledger, 0, range(1), level)
            wait_for_labels(ledger, pool, 0)
        begun = time.perf_counter()
        request_labels(ledger, 1, range(1, labels + 1), level)
        wait_for_labels(ledger, pool, 1)
        wall_s = time.perf_counter() - begun
        done = [frame for frame in ledger.labelled([Role.EXPLORE]) if frame.round == 1]
    assert len(done) == labels
    return (wall_s - sum(frame.label.cost_s for frame in done)) / labels


def campaign(folder: Path, seconds: float, labels_per_job: int) -> Config:
    """Return a configuration with one worker."""
    folder.mkdir(parents=True)
    write(folder / "copper.cif", bulk("Cu", cubic=True))
    engine = {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}
    if seconds:
        engine |= {"calculator": "label_overhead.WorkingEMT", "arguments": {"seconds": seconds}}
    return Config.model_validate(
        {
            "name": "overhead",
            "folder": folder,
            "foundation": {"kind": "sevennet", "model": "7net-0"},
            "systems": [{"file": folder / "copper.cif"}],
            "explore": {"temperatures_K": [300]},
            "label": {"engine": engine, "workers": 1, "labels_per_job": labels_per_job},
        }
    )


def request_labels(ledger: Ledger, round_: int, seeds: range, level: str) -> None:
    """Request labels of copper, rattled differently by each seed."""
    visits = []
    for seed in seeds:
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed)
        verdict = Verdict(VerdictKind.SUSPECT, GateCheck.UNCALIBRATED)
        visits.append(Frame(frame_id(atoms), atoms, Role.EXPLORE, "copper", f"copper/{seed}", seed, 300.0, verdict))
    ledger.replace_visits(round_, [Role.EXPLORE], visits)
    ledger.request_labels(round_, Role.EXPLORE, visits, level)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter labels; under a minute")
    quick = parser.parse_args().quick
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # where workers find WorkingEMT
    with tempfile.TemporaryDirectory(prefix="overhead-") as temporary:
        folder = Path(temporary)
        single = overhead_s(folder / "single", 10 if quick else 40, first_apart=quick)
        shared = overhead_s(folder / "shared", 20 if quick else 40, labels_per_job=10, first_apart=quick)
        seconds, labels = (QUICK_S, 3) if quick else (LONG_S, 5)
        long = overhead_s(folder / "long", labels, seconds=seconds, first_apart=quick)
    at_most("overhead per label in place, s", single, 0.5)
    at_most("overhead per label in place, 10 labels to a job, s", shared, 0.5)
    at_most("overhead of a 20 s label, share of its time", long / LONG_S, 0.05)


if __name__ == "__main__":
    main()
