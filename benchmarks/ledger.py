"""How the ledger grows: storing frames, choosing among them, claiming, and `al-loop status`, up to 10^5 frames.

    python benchmarks/ledger.py [--quick]

Frames of 64 atoms with descriptors of 128 numbers are stored by `replace_visits`, as the stage explore does, on a
private server with journalled writes. `status` is the whole command as a user types it: the start of python, the start
of the private mongod on that ledger, the query, and the stop of the server; the median of three. Processor time (of
the command, of the process that stores) is printed too: on a shared machine wall time is not meaningful.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import write
from figures import at_least, at_most

from al_loop.config import StoreSettings
from al_loop.ledger import Ledger, open_ledger
from al_loop.records import Frame, GateCheck, Role, Verdict, VerdictKind
from al_loop.utils.content_hash import frame_id
from al_loop.utils.event_log import LOG_NAME

SIZES = (1_000, 10_000, 100_000)
ROUNDS = 10
ATOMS, DESCRIPTOR = 64, 128
CLAIMS = 200
VERDICTS = (
    Verdict(VerdictKind.TRUSTED, GateCheck.NONE),
    Verdict(VerdictKind.SUSPECT, GateCheck.FORCE_UNCERTAINTY, "0.31 eV/Å on atom 2", (2,)),
)


def visits(count: int, round_: int) -> Iterator[Frame]:
    """Yield visits of frames that are distinct from those of other rounds."""
    rng = np.random.default_rng(round_)
    base = rng.uniform(0, 10, (ATOMS, 3))
    for step in range(count):
        atoms = Atoms(f"Cu{ATOMS}", base + rng.normal(0, 0.1, (ATOMS, 3)), cell=[10, 10, 10], pbc=True)
        atoms.info.update(charge=0, spin=1)
        vector = rng.normal(size=DESCRIPTOR).astype(np.float32)
        trajectory = f"copper/600K/{step % 16}"
        yield Frame(
            frame_id(atoms),
            atoms,
            Role.EXPLORE,
            "copper",
            trajectory,
            step,
            600.0,
            VERDICTS[step % 2],
            0.3,
            1.7,
            vector,
        )


def timed_store(ledger: Ledger, frames: int) -> tuple[float, float]:
    """Return wall and CPU seconds inside the ledger to store ten rounds, without the creation of the frames."""
    seconds = of_processor = 0.0
    for round_ in range(ROUNDS):
        block = list(visits(frames // ROUNDS, round_))
        started, began = time.perf_counter(), time.process_time()
        ledger.replace_visits(round_, [Role.EXPLORE], block)
        seconds += time.perf_counter() - started
        of_processor += time.process_time() - began
        ledger.request_labels(round_, Role.EXPLORE, block[: frames // ROUNDS // 10], "level")
        ledger.finish_stage(round_, "explore", 1.0, {"frames": len(block)})
    return seconds, of_processor


def timed_claims(ledger: Ledger) -> float:
    """Return the claims per second of one worker."""
    most = min(CLAIMS, ledger.open_requests())
    started = time.perf_counter()
    for _ in range(most):
        ledger.claim("worker-0", "level", 600)
    return most / (time.perf_counter() - started)


def timed_candidates(ledger: Ledger) -> float:
    """Return the seconds to read the input of one round's selection."""
    started = time.perf_counter()
    ledger.candidates(ROUNDS - 1, Role.EXPLORE)
    return time.perf_counter() - started


def timed_status(config: Path) -> tuple[float, float]:
    """Seconds of the whole command, and of the processor in it, medians of three."""
    environment = {key: value for key, value in os.environ.items() if key != "MONGODB_URI"}
    command = [sys.executable, "-m", "al_loop.cli", "status", str(config), "--json"]
    times, of_processor = [], []
    for _ in range(3):
        started, began = time.perf_counter(), os.times()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        times.append(time.perf_counter() - started)
        ended = os.times()
        of_processor.append(ended.children_user + ended.children_system - began.children_user - began.children_system)
    return statistics.median(times), statistics.median(of_processor)


def campaign(folder: Path) -> Path:
    """Write a config whose campaign folder is ``folder/run``."""
    write(folder / "copper.cif", bulk("Cu", cubic=True))
    config = {
        "name": "copper",
        "folder": str(folder / "run"),
        "foundation": {"kind": "sevennet", "model": "7net-0"},
        "systems": [{"file": "copper.cif"}],
        "explore": {"temperatures_K": [600]},
        "label": {"engine": {"engine": "gpaw"}},
    }
    path = folder / "copper.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "run").mkdir()
    (folder / "run" / LOG_NAME).touch()
    return path


def measure(frames: int) -> None:
    """Report on a ledger of ``frames``."""
    with tempfile.TemporaryDirectory() as place:
        config = campaign(Path(place))
        with open_ledger(StoreSettings(), Path(place) / "run", "copper") as ledger:
            ledger.start_campaign({"name": "copper"})
            stored, of_processor = timed_store(ledger, frames)
            at_least(f"frames stored a second, {frames} frames", frames / stored, 1000)
            at_least(f"frames stored a second of the processor, {frames} frames", frames / of_processor, 1000)
            at_least(f"claims a second of one worker, {frames} frames", timed_claims(ledger), 100)
            at_most(f"seconds to read the candidates of a round of {frames // ROUNDS}", timed_candidates(ledger), 10)
        status, of_processor = timed_status(config)
        at_most(f"seconds of al-loop status, {frames} frames", status, 2)
        at_most(f"seconds of the processor in al-loop status, {frames} frames", of_processor, 2)


def main() -> None:
    """Measure each size: the curve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10^3 and 10^4 frames only")
    sizes = SIZES[:2] if parser.parse_args().quick else SIZES
    os.environ.pop("MONGODB_URI", None)
    for frames in sizes:
        measure(frames)


if __name__ == "__main__":
    main()
