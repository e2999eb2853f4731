"""Time and memory of selection among 10^5 frames of 64 atoms.

    python benchmarks/selection.py [--quick]

Descriptors are as large as those of SevenNet-0 for two elements (256 numbers) and lie on trajectories that wander
through latent space; two compositions, 500 frames that are labelled already, a budget of 200. They are written to a
real ledger; what is measured, in a process of its own, is what the select stage does then: reading the candidates and
what is known of the labelled frames, and the choice. Seconds are of the wall, beside whatever else the machine does.
"""

import argparse
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ase.build import bulk
from figures import at_most, report

from al_loop.config import SelectSettings, StoreSettings
from al_loop.ledger import Ledger, open_ledger
from al_loop.records import Frame, FrameSummary, GateCheck, Role, Verdict, VerdictKind
from al_loop.stages.select.selection import select
from al_loop.utils.content_hash import frame_id

FRAMES, LABELLED, BUDGET, FRAMES_OF_A_TRAJECTORY, DESCRIPTOR = 100_000, 500, 200, 500, 256
SECONDS, GIGABYTES = 60, 4
CAMPAIGN = "benchmark"
SUSPECT = Verdict(VerdictKind.SUSPECT, GateCheck.FORCE_UNCERTAINTY, "uncertainty above the threshold")


def fill(folder: Path, frames: int) -> None:
    """Write the visits of two rounds: the first one's are labelled, the second one's may be."""
    with open_ledger(StoreSettings(), folder, CAMPAIGN) as ledger:
        ledger.replace_visits(0, [Role.EXPLORE], _visits(min(LABELLED, frames), seed=0))
        visits = _visits(frames, seed=1)
        ledger.replace_visits(1, [Role.EXPLORE], visits)


def _visits(count: int, seed: int) -> list[Frame]:
    """Frames of 64 atoms on random walks through latent space; every second trajectory has another composition."""
    rng = np.random.default_rng(seed)
    compositions = [bulk(name, "rocksalt", 5.7, cubic=True).repeat(2) for name in ("NaCl", "KBr")]
    place = np.zeros(DESCRIPTOR)
    visits = []
    for i in range(count):
        trajectory, step = divmod(i, FRAMES_OF_A_TRAJECTORY)
        if step == 0:
            place = rng.normal(size=DESCRIPTOR)
        place = place + 0.05 * rng.normal(size=DESCRIPTOR)
        atoms = compositions[trajectory % 2].copy()
        atoms.positions[0] += rng.normal(size=3)
        sigma = float(rng.lognormal(-2))
        visits.append(
            Frame(
                frame_id(atoms), atoms, Role.EXPLORE, "melt", f"melt/{trajectory}", step, 1500.0, SUSPECT, sigma, 1.0,
                place.astype(np.float32),
            )
        )  # fmt: skip
    return visits


def measure(folder: Path) -> tuple[float, float, int, int]:
    """Seconds, peak memory (GB), candidates and chosen frames, in this process."""
    with open_ledger(StoreSettings(), folder, CAMPAIGN) as ledger:
        started = time.perf_counter()
        candidates = ledger.candidates(1, Role.EXPLORE)
        known = _known(ledger)
        settings = SelectSettings(labels_per_round=BUDGET)
        chosen = select(candidates, known, settings, np.random.default_rng(0)).frame_ids
        ledger.visits(1, Role.EXPLORE, frames=chosen)
        seconds = time.perf_counter() - started
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, len(candidates), len(chosen)


def _known(ledger: Ledger) -> list[FrameSummary]:
    labelled = {visit.frame_id: visit.atoms.get_chemical_formula() for visit in ledger.visits(0, Role.EXPLORE)}
    found = ledger.descriptors(labelled)
    return [FrameSummary(frame, formula, found[frame]) for frame, formula in labelled.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2000 frames")
    frames = 2000 if parser.parse_args().quick else FRAMES
    with TemporaryDirectory(prefix="select") as scratch:
        fill(Path(scratch), frames)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            seconds, gigabytes, candidates, chosen = process.submit(measure, Path(scratch)).result()
    print(f"{candidates} candidates of 64 atoms, {chosen} chosen")
    at_most(f"seconds to choose among {candidates} frames", seconds, SECONDS)
    at_most("peak memory of it, GB", gigabytes, GIGABYTES)
    report("share of the budget that was spent", chosen / BUDGET, "1", holds=chosen == BUDGET)


if __name__ == "__main__":
    main()
