"""Thousands of labels while workers are killed continually: exactly one accepted label for each request.

    python benchmarks/soak.py [--quick] [--seed SEED]

Four workers of a campaign on a private MongoDB, EMT as the engine, batches of labels; every few seconds one worker,
chosen at random, gets kill -9. In the full run the database is frozen for 60 s and killed once besides.
"""

import argparse
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from figures import at_least, at_most, report

from al_loop.config import Config
from al_loop.ledger import Ledger, open_ledger
from al_loop.records import Frame, GateCheck, Role, Verdict, VerdictKind
from al_loop.stages.label import resources
from al_loop.tools.workers import worker_pool
from al_loop.tools.workers.worker_pool import WorkerPool, wait_for_labels
from al_loop.utils.campaign_folder import LOGS
from al_loop.utils.content_hash import frame_id
from al_loop.utils.event_log import EventLog
from dft_interfaces.engines import build_engine

WORKERS = 4


class SoakEMT(EMT):
    """EMT that records each finished calculation."""

    def __init__(self, count_file: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self._count_file = count_file

    def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)) -> None:
        """Calculate, then record it."""
        super().calculate(atoms, list(properties), list(system_changes))
        with open(self._count_file, "a") as file:  # noqa: PTH123 - one short append, atomic
            file.write(f"{self.results['energy']!r}\n")


def campaign(folder: Path) -> Config:
    """Return a configuration with four workers."""
    folder.mkdir(parents=True)
    write(folder / "copper.cif", bulk("Cu", cubic=True))
    engine = {"engine": "ase", "calculator": "soak.SoakEMT", "arguments": {"count_file": str(folder / "count.txt")}}
    return Config.model_validate(
        {
            "name": "soak",
            "folder": folder,
            "foundation": {"kind": "sevennet", "model": "7net-0"},
            "systems": [{"file": folder / "copper.cif"}],
            "explore": {"temperatures_K": [300]},
            "label": {"engine": engine, "workers": WORKERS, "labels_per_job": 20, "lease_s": 15},
        }
    )


def request_labels(ledger: Ledger, count: int, level: str) -> None:
    """Request labels of copper, rattled differently each."""
    visits = []
    for seed in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed)
        verdict = Verdict(VerdictKind.SUSPECT, GateCheck.UNCALIBRATED)
        visits.append(Frame(frame_id(atoms), atoms, Role.EXPLORE, "copper", f"copper/{seed}", seed, 300.0, verdict))
    ledger.replace_visits(0, [Role.EXPLORE], visits)
    ledger.request_labels(0, Role.EXPLORE, visits, level)


def kill_now_and_then(every_s: float, rng: random.Random, over: threading.Event, kills: list[int]) -> None:
    """Kill -9 a worker of this process at random times."""
    while not over.wait(rng.uniform(0.5, 1.5) * every_s):
        workers = [child for child in psutil.Process().children() if is_worker(child)]
        if workers:
            victim = rng.choice(workers)
            victim.kill()
            kills.append(victim.pid)


def is_worker(process: psutil.Process) -> bool:
    """Whether a child process is a living worker."""
    try:
        return "al_loop.tools.workers.worker" in process.cmdline()
    except psutil.Error:  # it has just died
        return False


def freeze_and_kill_database(folder: Path, away_s: float, over: threading.Event) -> None:
    """Freeze the database for a while and kill it later."""
    lock = folder / "ledger" / "data" / "mongod.lock"
    if over.wait(30.0):
        return
    pid = int(lock.read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        over.wait(away_s)
    finally:
        os.kill(pid, signal.SIGCONT)
    if not over.wait(20.0):
        os.kill(pid, signal.SIGKILL)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="300 requests; under a minute")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    count, every_s = (300, 6.0) if arguments.quick else (10_000, 8.0)
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # where workers find SoakEMT
    os.environ.pop("MONGODB_URI", None)
    resources.machine_cores = lambda: WORKERS  # four workers on any machine
    worker_pool.RESTARTS = 10**6  # it is this program that kills them
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        folder = Path(temporary) / "run"
        config = campaign(folder)
        (folder / LOGS).mkdir()
        level = build_engine(config.label.engine).level_of_theory.fingerprint
        kills: list[int] = []
        over = threading.Event()
        begun = time.monotonic()
        with open_ledger(config.store, folder, config.name) as ledger:
            request_labels(ledger, count, level)
            faults = [
                threading.Thread(target=kill_now_and_then, args=(every_s, random.Random(arguments.seed), over, kills))
            ]
            if not arguments.quick:
                faults.append(threading.Thread(target=freeze_and_kill_database, args=(folder, 60.0, over)))
            with WorkerPool(config, EventLog(folder / "log.jsonl")) as pool:
                pool.start()
                for fault in faults:
                    fault.start()
                try:
                    wait_for_labels(ledger, pool, 0)
                finally:
                    over.set()
                    for fault in faults:
                        fault.join()
            wall_s = time.monotonic() - begun
            ended = ledger.labelled([Role.EXPLORE], converged_only=False)
            superseded = ledger.duplicate_executions()
        labelled = [frame for frame in ended if frame.converged]
        calculated = Counter((folder / "count.txt").read_text().split())
    again = calculated.total() - len(calculated)
    report("soak: requests", count, "10000 in the full run", holds=arguments.quick or count == 10_000)
    at_least("soak: workers killed", len(kills), 3 if arguments.quick else 20)
    report(
        "soak: requests with exactly one accepted label",
        len({f.frame_id for f in labelled}),
        f"{count}",
        holds=len(labelled) == len({f.frame_id for f in labelled}) == count,
    )
    at_most("soak: labels lost", count - len(labelled), 0)
    at_most("soak: calculations made again, per worker killed", again / max(1, len(kills)), 1.0)
    at_most("soak: results that came after their lease was lost", superseded, WORKERS)
    report("soak: wall time, s", wall_s, "none", holds=True)


if __name__ == "__main__":
    main()
