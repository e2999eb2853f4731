"""Steps per second of replicas in lockstep against the same replicas run one after another.

    python benchmarks/lockstep.py [--foundation sevennet|distilled] [--steps N] [--quick]

16 replicas of 8 to 16 atoms (crystals, a metal, molecules), an untrained committee of 8, two threads on both sides.
Each side is the exploration itself: a step is propagation, the evaluation (of 16 frames, or of one) and the physics
check, with frames gated every 5 steps. Blocks of 5 steps of the 16 in lockstep, of each of the 16 alone, and
of each alone with one thread, take turns; a ratio is the median over the blocks, in wall time, since the second core is
what a single small cell cannot use. Needs two cores to itself: where others compute as well there is no second core to
gain, and two threads that wait for each other lose far more than that.
"""

import argparse
import time
import warnings

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule
from figures import at_least
from systems import DISTILLED, SEVENNET

from al_loop.config import ExploreSettings, PhysicsSettings
from al_loop.records import Role
from al_loop.stages.explore.lockstep import Lockstep
from al_loop.structures.start import Start
from committee import CommitteePotential, load_backbone
from committee.settings import FairchemSettings

FOUNDATIONS = {
    "sevennet": SEVENNET,
    "distilled": FairchemSettings(kind="fairchem", model=str(DISTILLED), task_name="omat"),
}
BLOCK = 5
TEMPERATURE_K = 300.0
THREADS = 2


def structures() -> list[Atoms]:
    """16 of 8 to 16 atoms, all of elements that the distilled checkpoint covers."""
    salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    oxide = bulk("MgO", "rocksalt", a=4.25, cubic=True)
    silicon, copper = bulk("Si", cubic=True), bulk("Cu", cubic=True)
    crystals = [salt, oxide, silicon, copper.repeat((2, 1, 1)), copper.repeat((3, 1, 1)), copper.repeat((2, 2, 1))]
    crystals += [bulk("NaCl", "rocksalt", a=5.64).repeat(2), bulk("Si").repeat(2)]
    molecules = [molecule(name) for name in ("CH3CH2OH", "C6H6", "C2H6", "CH3COOH", "C3H8", "CH3COCH3", "C3H6_D3h")]
    return [*crystals, *molecules, bulk("MgO", "rocksalt", a=4.25).repeat((2, 2, 2))]


def starts() -> list[Start]:
    """One trajectory for each structure."""
    rng = np.random.default_rng(0)
    made = []
    for index, intact in enumerate(structures()):
        atoms = intact.copy()
        atoms.positions += rng.normal(0, 0.03, atoms.positions.shape)
        made.append(Start(str(index), str(index), Role.EXPLORE, atoms, intact, TEMPERATURE_K, (index,)))
    return made


def run(lockstep: Lockstep) -> float:
    """Wall seconds of one block."""
    started = time.perf_counter()
    for _ in range(BLOCK):
        lockstep.advance()
    return time.perf_counter() - started


def measure(foundation: str, steps: int) -> None:
    """Print the figure of one foundation."""
    potential = CommitteePotential.untrained(load_backbone(FOUNDATIONS[foundation]))
    settings = ExploreSettings(temperatures_K=(TEMPERATURE_K,), steps=steps + 1, check_every=BLOCK)
    # Limits that nothing reaches: every replica must go on to the end on both sides.
    physics = PhysicsSettings(
        allow_dissociation=True,
        max_energy_change_eV_per_atom=100.0,
        max_volume_ratio=100.0,
        max_temperature_ratio=1000.0,
        max_temperature_K=1e5,
    )
    replicas = starts()
    together = Lockstep(potential, replicas, settings, physics)
    alone, single = ([Lockstep(potential, [start], settings, physics) for start in replicas] for _ in range(2))
    for lockstep in (together, *alone, *single):
        lockstep.advance()  # the start; the first evaluation of each size also compiles
    rows = []
    for _ in range(steps // BLOCK):
        row = [run(together), sum(run(lockstep) for lockstep in alone)]
        torch.set_num_threads(1)
        row.append(sum(run(lockstep) for lockstep in single))
        torch.set_num_threads(THREADS)
        rows.append(row)
    if together.running != len(replicas) or any(lockstep.running != 1 for lockstep in (*alone, *single)):
        raise SystemExit("A replica was stopped: the sides no longer do the same work.")
    seconds = np.array(rows) / BLOCK
    atoms = [len(start.atoms) for start in replicas]
    print(
        f"# {foundation}: {len(atoms)} replicas of {min(atoms)} to {max(atoms)} atoms; seconds a step in lockstep, one"
        f" after another, and so with one thread: {np.round(np.median(seconds, axis=0), 3)}; ratios of each block:"
        f" {np.round(seconds[:, 1] / seconds[:, 0], 2)}, {np.round(seconds[:, 2] / seconds[:, 0], 2)}"
    )
    for column, suffix in ((1, ""), (2, " with one thread")):
        name = f"{foundation}: steps per second of 16 replicas in lockstep over one after another{suffix}"
        at_least(name, float(np.median(seconds[:, column] / seconds[:, 0])), 1.4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--foundation", choices=FOUNDATIONS, action="append", help="default: all that are present")
    parser.add_argument("--steps", type=int, default=50, help="of each replica")
    parser.add_argument("--quick", action="store_true", help="two blocks on SevenNet alone: shows that it runs")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    warnings.filterwarnings("ignore", module="e3nn|torch|sevenn|fairchem")
    present = [name for name in FOUNDATIONS if name != "distilled" or DISTILLED.is_file()]
    for foundation in arguments.foundation or (present[:1] if arguments.quick else present):
        measure(foundation, 2 * BLOCK if arguments.quick else arguments.steps)


if __name__ == "__main__":
    main()
