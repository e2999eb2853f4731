"""What monitoring costs: CPU time of dynamics with the monitor over that without, and memory over a million steps.

    python benchmarks/monitor.py [--steps N] [--memory-steps N] [--quick]

Cost: 64 atoms of NaCl, K = 8, SevenNet-0, one thread, the committee of ``benchmarks/cost.py``. Two runs from the same
start, one watched every 5 steps with the screen, go on in turns, five steps each, so that a busy machine disturbs both
alike; the ratio is that of all their CPU seconds, the exact first check included. That both end at the same bits is
checked. A run on a calculator of one's own costs one evaluation of the committee for each check, told in units of one
step of dynamics on that committee without a monitor.

Memory: a million steps of EMT on four copper atoms, watched by a SevenNet-0 committee; resident memory after a tenth
of the steps, when everything is loaded and every buffer is full, and at the end.
"""

import argparse
import gc
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from cost import TOLERANCES_EV_PER_A, committee, start, systems
from figures import at_least, at_most, report
from systems import SEVENNET

from al_loop.monitor import ReliabilityMonitor
from committee import (
    CommitteeCalculator,
    CommitteePotential,
    CommitteeSettings,
    TrainingFrame,
    TrainingSettings,
    load_backbone,
    train,
)
from committee.calibration import Calibration

EVERY = 5


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def dynamics(potential: CommitteePotential, timestep_fs: float, begin: Atoms) -> VelocityVerlet:
    atoms = begin.copy()
    atoms.calc = CommitteeCalculator(potential)
    return VelocityVerlet(atoms, timestep_fs * units.fs)


def cost(folder: Path, *, steps: int, quick: bool) -> None:
    """Watched and not watched, in turns."""
    system = systems()["nacl"]
    backbone = load_backbone(SEVENNET)
    potential = committee(backbone, "nacl", system, TOLERANCES_EV_PER_A["sevennet"], quick=quick)
    begin = start(system)
    for _ in range(3):
        potential.predict([begin], "exact")  # the first calls compile
    plain, watched = dynamics(potential, system.timestep_fs, begin), dynamics(potential, system.timestep_fs, begin)
    monitor = ReliabilityMonitor(potential, watched, options(folder / "cost"))
    watched.attach(monitor, interval=EVERY)
    taken = {plain: [], watched: []}
    for block in range(steps // EVERY):
        for one in (plain, watched) if block % 2 else (watched, plain):
            taken[one].append(seconds(lambda one=one: one.run(EVERY)))
    same = np.array_equal(plain.atoms.positions, watched.atoms.positions)
    told = monitor.close()
    found = told["force_uncertainty_found"]
    print(f"# {steps} steps, {told['checks']} checks: {found}, trusted {told['share_trusted']:.2f}")
    at_least("monitor: share of checks that are trusted", told["share_trusted"], 0.95)
    at_most(
        "monitor: MD on the committee, watched every 5 steps over not watched",
        ratio(taken[watched], taken[plain]),
        1.25,
    )
    report("monitor: positions watched and not watched are the same bits", float(same), "== 1", holds=same)
    own(potential, begin, folder, np.median(taken[plain]) / EVERY)


def own(potential: CommitteePotential, begin: Atoms, folder: Path, step_s: float) -> None:
    """A check beside a calculator that is not the committee."""
    atoms = begin.copy()
    other = VelocityVerlet(atoms, 1.0 * units.fs)
    monitor = ReliabilityMonitor(potential, other, options(folder / "own"))
    monitor()  # the first is exact
    taken = [seconds(monitor) for _ in range(10)]
    checks = monitor.summary.checks
    at_most("monitor: own calculator, committee evaluations per check", monitor.evaluations / checks, 1.0)
    at_most(
        "monitor: own calculator, a screened check over one step on the committee",
        float(np.median(taken)) / step_s,
        2.0,
    )


def ratio(first: list[float], second: list[float]) -> float:
    return sum(first) / sum(second)


def memory(folder: Path, *, steps: int, checks: int) -> None:
    """Resident memory of a long watched run."""
    potential = tiny(folder)
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    rng = np.random.default_rng(0)
    thermalize_momenta(atoms, temperature_K=300, rng=rng)
    dyn = Langevin(atoms, 2 * units.fs, temperature_K=300, friction=0.01 / units.fs, rng=rng, fixcm=False)
    monitor = ReliabilityMonitor(potential, dyn, options(folder / "memory"))
    dyn.attach(monitor, interval=max(1, steps // checks))
    process = psutil.Process()
    held = []
    for _ in range(10):
        dyn.run(steps // 10)
        gc.collect()
        held.append(process.memory_info().rss / 2**20)
        print(f"# {dyn.nsteps} steps, {monitor.summary.checks} checks: {held[-1]:.1f} MiB", flush=True)
    told = monitor.close()
    print(f"# {told['verdicts']}, {told['force_uncertainty_found']}")
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
        training=TrainingSettings(epochs=60, exact_up_to_atoms=1, sketch_directions=4),
        cache_folder=folder / "tangents",
        seed=0,
    )
    answers = potential.predict([bare(atoms) for atoms in unseen], "exact")
    return potential.with_calibration(
        Calibration.fit(
            [np.linalg.norm(p.forces - a.get_forces(), axis=1) for p, a in zip(answers, unseen, strict=True)],
            [p.atomic_force_uncertainty for p in answers],
            [p.latent_distance for p in answers],
            tolerance_eV_per_A=0.5,
            latent_quantile=1.0,
        )
    )


def options(folder: Path):
    from al_loop.monitor.options import MonitorOptions

    folder.mkdir()
    return MonitorOptions(log=folder / "monitor.jsonl", snapshots=folder / "alarms.extxyz")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=225, help="of the dynamics whose cost is measured")
    parser.add_argument("--memory-steps", type=int, default=1_000_000)
    parser.add_argument("--checks", type=int, default=4000, help="in the run whose memory is measured")
    parser.add_argument("--only", choices=("cost", "memory"))
    parser.add_argument("--quick", action="store_true", help="few steps, a coarse committee: shows that it runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("al_loop").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="e3nn|torch|sevenn")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.only != "memory":
            cost(Path(folder), steps=20 if arguments.quick else arguments.steps, quick=arguments.quick)
        if arguments.only != "cost":
            steps, checks = (2000, 200) if arguments.quick else (arguments.memory_steps, arguments.checks)
            memory(Path(folder), steps=steps, checks=checks)


if __name__ == "__main__":
    main()
