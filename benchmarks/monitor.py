"""Cost of monitoring: CPU time of dynamics with the monitor over that without, and memory over a million steps.

    python benchmarks/monitor.py [--steps N] [--repeats N] [--memory-steps N] [--only cost|memory] [--quick]

Cost: 64 atoms of NaCl, K = 8, SevenNet-0, one thread; the committee of ``benchmarks/cost.py --quick``, which is
trained on rattled cells within a minute, trusts this dynamics. Two runs from the same start, one monitored every 5
steps with the screen, alternate, five steps each, so that other load affects both equally. The runs are
repeated; repeats compute the same, so that of each five steps the fastest repeat counts, in CPU seconds. The first
check is exact; where fewer steps are run than a trajectory of 225 has, its price is spread over those. That both runs
end at the same bits is checked. A run on a calculator of one's own costs one evaluation of the committee for each
check, given in units of one step of dynamics on that committee without a monitor.

Memory: a million steps of four copper atoms on springs, watched by a SevenNet-0 committee; resident memory after a
tenth of the steps, when everything is loaded and every buffer is full, and at the end.
"""

import argparse
import gc
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from cost import STEPS, TOLERANCES_EV_PER_A, committee, start, systems
from figures import at_least, at_most, report
from systems import SEVENNET

from al_loop import ReliabilityMonitor
from al_loop.tools.monitoring.settings import MonitorOptions
from committee import (
    CommitteeCalculator,
    CommitteePotential,
    CommitteeSettings,
    TrainingFrame,
    TrainingSettings,
    load_backbone,
    train,
)
from committee.uncertainty.calibration import Calibration

EVERY = 5
SPRING_EV_PER_A2 = 5.0


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def dynamics(potential: CommitteePotential, timestep_fs: float, begin: Atoms) -> VelocityVerlet:
    atoms = begin.copy()
    atoms.calc = CommitteeCalculator(potential)
    return VelocityVerlet(atoms, timestep_fs * units.fs)


def cost(folder: Path, *, steps: int, repeats: int, looks: int) -> None:
    """Measure monitored and unmonitored dynamics in turns."""
    system = systems()["nacl"]
    backbone = load_backbone(SEVENNET)
    potential = committee(backbone, "nacl", system, TOLERANCES_EV_PER_A["sevennet"], quick=True)
    begin = start(system)
    for _ in range(2):
        potential.predict([begin], "exact")  # the first calls compile
    blocks = np.full((2, repeats, steps // EVERY), np.nan)
    for repeat in range(repeats):
        blocks[:, repeat], summary, same = in_turns(potential, begin, system.timestep_fs, folder / f"{repeat}", steps)
        report("monitor: positions watched and not watched are the same bits", float(same), "== 1", holds=same)
    print(f"# {steps} steps, {summary['checks']} checks: {summary['force_uncertainty_found']}, {repeats} repeats")
    at_least("monitor: share of checks that are trusted", summary["share_trusted"], 0.95)
    watched, plain = blocks.min(axis=1)
    at_most("monitor: MD on the committee, watched every 5 steps over not watched", whole(watched) / whole(plain), 1.25)
    own(potential, begin, folder, looks)


def in_turns(
    potential: CommitteePotential, begin: Atoms, timestep_fs: float, folder: Path, steps: int
) -> tuple[np.ndarray, dict[str, Any], bool]:
    """Return CPU seconds (2, blocks) of five steps, monitored and not; the summary; whether positions agree bitwise."""
    watched, plain = dynamics(potential, timestep_fs, begin), dynamics(potential, timestep_fs, begin)
    monitor = ReliabilityMonitor(potential, watched, options(folder))
    watched.attach(monitor, interval=EVERY)
    taken: dict[VelocityVerlet, list[float]] = {watched: [], plain: []}
    for block in range(steps // EVERY):
        for one in (plain, watched) if block % 2 else (watched, plain):
            taken[one].append(seconds(lambda one=one: one.run(EVERY)))
    same = bool(np.array_equal(plain.atoms.positions, watched.atoms.positions))
    return np.array([taken[watched], taken[plain]]), monitor.close(), same


def whole(blocks: np.ndarray) -> float:
    """Return the seconds of a trajectory of 225 steps: the first block, with the exact check, counts once."""
    count = max(STEPS // EVERY, len(blocks))
    return float(blocks[0] + blocks[1:].mean() * (count - 1))


def own(potential: CommitteePotential, begin: Atoms, folder: Path, looks: int) -> None:
    """Measure a check of dynamics on a calculator that is not the committee."""
    atoms = begin.copy()
    other = VelocityVerlet(atoms, 1.0 * units.fs)
    monitor = ReliabilityMonitor(potential, other, options(folder / "own"))
    step = dynamics(potential, 1.0, begin)
    step.run(1)
    monitor()  # the first is exact
    taken = [(seconds(monitor), seconds(lambda: step.run(1))) for _ in range(looks)]
    check_s, step_s = np.min(taken, axis=0)
    evaluations = monitor.evaluations / monitor.summary.checks
    report("monitor: own calculator, committee evaluations per check", evaluations, "== 1", holds=evaluations == 1)
    at_most("monitor: own calculator, a screened check over one step on the committee", check_s / step_s, 2.0)


class Springs:
    """Harmonic springs, one per atom: the calculator methods that ASE's dynamics need, at negligible cost."""

    def __init__(self, rest: np.ndarray) -> None:
        self._rest = rest
        self.results: dict[str, Any] = {}

    def calculation_required(self, atoms: Atoms, properties: list[str]) -> bool:  # noqa: ARG002 - ASE's signature
        return False

    def get_forces(self, atoms: Atoms) -> np.ndarray:
        displaced = atoms.arrays["positions"] - self._rest
        forces = -SPRING_EV_PER_A2 * displaced
        self.results = {"energy": -0.5 * float(np.sum(forces * displaced)), "forces": forces}
        return forces


def memory(folder: Path, *, steps: int, checks: int) -> None:
    """Measure the resident memory of a long monitored run."""
    potential = tiny(folder)
    atoms = bulk("Cu", cubic=True)
    atoms.calc = Springs(atoms.positions.copy())
    thermalize_momenta(atoms, temperature_K=300, rng=np.random.default_rng(0))
    dyn = VelocityVerlet(atoms, 2 * units.fs)
    monitor = ReliabilityMonitor(potential, dyn, options(folder / "memory"))
    dyn.attach(monitor, interval=max(1, steps // checks))
    process = psutil.Process()
    held = []
    for _ in range(10):
        dyn.run(steps // 10)
        gc.collect()
        held.append(process.memory_info().rss / 2**20)
        print(f"# {dyn.nsteps} steps, {monitor.summary.checks} checks: {held[-1]:.1f} MiB", flush=True)
    summary = monitor.close()
    print(f"# {summary['verdicts']}, {summary['force_uncertainty_found']}")
    at_most(f"monitor: memory after {dyn.nsteps} steps over that after a tenth of them", held[-1] / held[0], 1.02)


def tiny(folder: Path) -> CommitteePotential:
    """A small committee on SevenNet-0 for rattled copper, with labels of EMT."""

    def rattled(seed: int) -> Atoms:
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.02 + 0.012 * (seed % 8), rng=np.random.default_rng(seed))
        atoms.calc = EMT()
        return atoms

    def bare(atoms: Atoms) -> Atoms:
        return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)

    known, unseen = [rattled(seed) for seed in range(8)], [rattled(100 + seed) for seed in range(12)]
    potential = train(
        load_backbone(SEVENNET),
        [
            TrainingFrame(f"{i}", bare(a), a.get_potential_energy(), a.get_forces(), a.get_stress(), group=f"{i}")
            for i, a in enumerate(known)
        ],
        committee=CommitteeSettings(members=4, hidden_channels=8),
        training=TrainingSettings(epochs=60, exact_up_to_atoms=1, random_directions=4),
        cache_folder=folder / "tangents",
        seed=0,
    )
    predictions = potential.predict([bare(atoms) for atoms in unseen], "exact")
    return potential.with_calibration(
        Calibration.fit(
            [np.linalg.norm(p.forces - a.get_forces(), axis=1) for p, a in zip(predictions, unseen, strict=True)],
            [p.atomic_force_uncertainty for p in predictions],
            [p.latent_distance for p in predictions],
            tolerance_eV_per_A=0.5,
            latent_quantile=1.0,
        )
    )


def options(folder: Path) -> MonitorOptions:
    folder.mkdir()
    return MonitorOptions(log=folder / "monitor.jsonl", snapshots=folder / "alarms.extxyz")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS, help="of the dynamics whose cost is measured")
    parser.add_argument("--repeats", type=int, default=2, help="of that dynamics; the fastest counts")
    parser.add_argument("--memory-steps", type=int, default=1_000_000)
    parser.add_argument("--checks", type=int, default=2000, help="in the run whose memory is measured")
    parser.add_argument("--only", choices=("cost", "memory"))
    parser.add_argument("--quick", action="store_true", help="few steps: shows that it runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("al_loop").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="e3nn|torch|sevenn")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.only != "memory":
            steps, repeats = (10, 1) if arguments.quick else (arguments.steps, arguments.repeats)
            cost(Path(folder), steps=steps, repeats=repeats, looks=3 if arguments.quick else 8)
        if arguments.only != "cost":
            steps, checks = (200, 20) if arguments.quick else (arguments.memory_steps, arguments.checks)
            memory(Path(folder), steps=steps, checks=checks)


if __name__ == "__main__":
    main()
