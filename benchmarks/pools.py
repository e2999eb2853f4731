"""Exploratory MD for the evaluation of selection, labelled once and kept in ``benchmarks/.cache/pools``.

    python benchmarks/pools.py NAME [NAME ...]

A pool is what an exploration under the foundation leaves behind: many replicas at the working temperature, fewer that
are hotter, a few in a strained cell or far too hot, and neighbouring frames of a trajectory that resemble each other.
Held-out frames come from trajectories of their own, with equal shares of all conditions. Three chemistries are for
tuning a strategy, three others for reporting.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read, write
from ase.stress import full_3x3_to_voigt_6_stress
from systems import CACHE, SEVENNET, SYSTEMS, TEACHER, load_frames
from telling import counting, making

from al_loop.dynamics.constant_volume import LangevinReplica
from committee.backbones import load_backbone
from committee.backbones.contract import Backbone
from committee.training.train import TrainingFrame

ATOMS_AT_ONCE = 128
FRICTION_PER_PS = 20.0


@dataclass(frozen=True)
class Condition:
    """Trajectories of one kind.

    Attributes:
        name: as it is printed.
        temperature_K: of the thermostat.
        strain: factor of the cell's edges.
    """

    name: str
    temperature_K: float
    strain: float = 1.0


@dataclass(frozen=True)
class Chemistry:
    """How a pool is made; the conditions are sorted from the most to the least frequent."""

    start: Callable[[], Atoms]
    conditions: tuple[Condition, Condition, Condition, Condition]
    timestep_fs: float
    settling: int
    interval: int


@dataclass(frozen=True)
class Sizes:
    """Trajectories of each condition in the pool, of each condition held out, and frames of each of them."""

    pool: tuple[int, int, int, int]
    frames: int
    held_out: int
    held_out_frames: int


@dataclass(frozen=True)
class PoolFrame:
    """A labelled frame and its origin."""

    training: TrainingFrame
    condition: str
    trajectory: str
    held_out: bool


@dataclass(frozen=True)
class _Trajectory:
    condition: Condition
    number: int
    held_out: bool

    @property
    def name(self) -> str:
        return f"{self.condition.name}/{'held out' if self.held_out else 'pool'}/{self.number}"


FULL = Sizes(pool=(8, 4, 2, 2), frames=8, held_out=3, held_out_frames=4)
TUNING = Sizes(pool=(8, 4, 2, 1), frames=8, held_out=3, held_out_frames=4)
QUICK = Sizes(pool=(3, 2, 1, 1), frames=4, held_out=1, held_out_frames=2)


def _crystal(temperatures_K: tuple[int, int, int], strain: float) -> tuple[Condition, Condition, Condition, Condition]:
    cold, warm, hot = temperatures_K
    return (
        Condition(f"{cold} K", cold),
        Condition(f"{warm} K", warm),
        Condition(f"{hot} K", hot),
        Condition(f"{warm} K, edges x {strain:g}", warm, strain),
    )


def _molecule(*temperatures_K: int) -> tuple[Condition, Condition, Condition, Condition]:
    first, second, third, fourth = (Condition(f"{t} K", t) for t in temperatures_K)
    return first, second, third, fourth


CHEMISTRIES = {
    "silicon": Chemistry(lambda: bulk("Si").repeat((2, 1, 1)), _crystal((300, 1200, 3000), 0.93), 2.5, 40, 8),
    "methanol": Chemistry(lambda: molecule("CH3OH"), _molecule(300, 600, 1200, 2400), 0.5, 200, 20),
    "cuzr": Chemistry(
        lambda: bulk("CuZr", "cesiumchloride", 3.27).repeat((2, 1, 1)), _crystal((600, 1500, 3000), 0.93), 3.0, 30, 8
    ),
    "acetaldehyde": Chemistry(lambda: molecule("CH3CHO"), _molecule(300, 600, 1200, 2400), 0.5, 200, 20),
}
REPORTED = ("nacl", "silicon", "methanol")
TUNED_ON = ("cuzr", "acetaldehyde")


def load_pool(name: str, *, quick: bool = False) -> list[PoolFrame]:
    """Read a chemistry's frames; compute them if they are not in the cache."""
    if name == "nacl":
        return _from_systems(quick=quick)
    sizes = QUICK if quick else FULL if name in REPORTED else TUNING
    path = CACHE / "pools" / f"{name}{'-quick' if quick else ''}.extxyz"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        making(f"the pool of {path.stem}")
        _make(path, CHEMISTRIES[name], sizes)
    return [_frame(atoms, f"{path.stem}-pool-{i:03d}") for i, atoms in enumerate(read(path, ":"))]


def _frame(atoms: Atoms, name: str) -> PoolFrame:
    stress = atoms.info.get("REF_stress")
    training = TrainingFrame(
        id=name,
        atoms=Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc),
        energy_eV=float(atoms.info["REF_energy"]),
        forces_eV_per_A=atoms.arrays["REF_forces"],
        stress_eV_per_A3=None if stress is None else np.asarray(stress, dtype=float),
        group=atoms.info["trajectory"],
    )
    return PoolFrame(training, atoms.info["condition"], atoms.info["trajectory"], bool(atoms.info["held_out"]))


def _from_systems(*, quick: bool) -> list[PoolFrame]:
    """Sodium chloride; frames of the hotter trajectories 20 steps apart instead of 10."""
    system = SYSTEMS["nacl"]
    in_pool, first_held_out = ((2, 2, 1), 2) if quick else ((8, 4, 2), 8)
    frames = []
    for temperature, count in zip(system.recipe.temperatures_K, in_pool, strict=True):
        coldest = temperature == system.recipe.temperatures_K[0]
        for i, frame in enumerate(load_frames(system, [temperature], quick=quick)):
            held_out = frame.trajectory >= first_held_out
            if (held_out or frame.trajectory < count) and (i % 2 == 0 or (coldest and not held_out)):
                name = f"{temperature} K"
                frames.append(PoolFrame(frame.training, name, f"{name}/{frame.trajectory}", held_out))
    return frames


def _make(path: Path, chemistry: Chemistry, sizes: Sizes) -> None:
    """Run all trajectories in lockstep, label their frames, and write the file when all is done."""
    trajectories = [
        _Trajectory(condition, number, held_out)
        for condition, in_pool in zip(chemistry.conditions, sizes.pool, strict=True)
        for held_out, count in ((False, in_pool), (True, sizes.held_out))
        for number in range(count)
    ]
    frames = _explored(chemistry, trajectories, sizes)
    teacher = load_backbone(TEACHER)
    labelled = [_labelled(teacher, trajectory, atoms) for trajectory, atoms in frames]
    temporary = path.with_suffix(".tmp")
    write(temporary, labelled, format="extxyz")
    temporary.replace(path)


def _explored(chemistry: Chemistry, trajectories: list[_Trajectory], sizes: Sizes) -> list[tuple[_Trajectory, Atoms]]:
    """Frames of all trajectories; those held out keep fewer, spread over the same time."""
    driver = load_backbone(SEVENNET)
    replicas = [_replica(chemistry, trajectory) for trajectory in trajectories]
    forces = _forces(driver, [replica.atoms for replica in replicas])
    stride = sizes.frames // sizes.held_out_frames
    kept = []
    steps, report = chemistry.settling + sizes.frames * chemistry.interval, counting("steps of all trajectories")
    for step in range(1, steps + 1):
        report(step, steps)
        for replica, force in zip(replicas, forces, strict=True):
            replica.move(force)
        forces = _forces(driver, [replica.atoms for replica in replicas])
        for replica, force in zip(replicas, forces, strict=True):
            replica.finish(force)
        nth, between = divmod(step - chemistry.settling, chemistry.interval)
        if nth < 1 or between:
            continue
        kept += [
            (trajectory, replica.atoms.copy())
            for trajectory, replica in zip(trajectories, replicas, strict=True)
            if not trajectory.held_out or nth % stride == 0
        ]
    return kept


def _replica(chemistry: Chemistry, trajectory: _Trajectory) -> LangevinReplica:
    condition = trajectory.condition
    atoms = chemistry.start()
    atoms.set_cell(atoms.cell * condition.strain, scale_atoms=True)
    kind = chemistry.conditions.index(condition)
    rng = np.random.default_rng([kind, int(trajectory.held_out), trajectory.number])
    return LangevinReplica(atoms, condition.temperature_K, chemistry.timestep_fs, FRICTION_PER_PS, rng)


def _forces(driver: Backbone, frames: list[Atoms]) -> list[np.ndarray]:
    at_once = max(1, ATOMS_AT_ONCE // len(frames[0]))
    forces: list[np.ndarray] = []
    for start in range(0, len(frames), at_once):
        batch = frames[start : start + at_once]
        found = driver.evaluate(batch).foundation()[0].numpy().astype(float)
        forces += np.split(found, len(batch))
    return forces


def _labelled(teacher: Backbone, trajectory: _Trajectory, atoms: Atoms) -> Atoms:
    evaluation = teacher.evaluate([atoms])
    forces, stress = evaluation.foundation()
    frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    frame.info.update(
        condition=trajectory.condition.name,
        trajectory=trajectory.name,
        held_out=trajectory.held_out,
        REF_energy=float(evaluation.energy[0].detach()),
    )
    frame.arrays["REF_forces"] = forces.numpy().astype(float)
    if atoms.pbc.all():
        frame.info["REF_stress"] = full_3x3_to_voigt_6_stress(stress[0].numpy().astype(float))
    return frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=(*REPORTED, *TUNED_ON))
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    for name in arguments.names:
        frames = load_pool(name, quick=arguments.quick)
        held_out = sum(frame.held_out for frame in frames)
        print(f"{name}: {len(frames) - held_out} frames in the pool, {held_out} held out", flush=True)


if __name__ == "__main__":
    main()
