"""The labelled frames of the benchmarks, computed once and kept in ``benchmarks/.cache``.

    python benchmarks/systems.py [--system nacl|ethanol|distilled|lif|mgo] [--quick] [--temperature K]

Every frame comes from one of several independent Langevin trajectories per temperature; a trajectory is a group, and a
split never has frames of one group on both sides. ``--temperature`` makes one temperature only, so that several can be
made side by side.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, surface
from ase.io import read, write
from telling import counting, making

from al_loop.dynamics.constant_volume import LangevinReplica
from committee.settings import FairchemSettings, FoundationSettings, SevenNetSettings
from committee.training.train import TrainingFrame

ROOT = Path(__file__).parents[1]
CACHE = ROOT / "benchmarks" / ".cache"
DISTILLED = ROOT / "tests" / "data" / "distilled" / "distilled.pt"
SEVENNET = SevenNetSettings(kind="sevennet", model="7net-0")
TEACHER = SevenNetSettings(kind="sevennet", model="7net-l3i5")

Results = tuple[float, np.ndarray, np.ndarray | None]  # energy eV, forces eV/Å, stress eV/Å³
Model = Callable[[Atoms], Results]


@dataclass(frozen=True)
class Recipe:
    """How a data set is made.

    Attributes:
        start: structure that every trajectory starts from.
        driver: energy and forces of the dynamics.
        teacher: the labels; the same as the driver where None.
        temperatures_K: those of the learning task, ascending.
        between_K: a fourth one, between the lowest two, for the extrapolation figures.
        timestep_fs: of the dynamics.
        settling: steps before the first frame (a third of it in the small set).
        interval: steps between two frames (a third of it in the small set).
    """

    start: Callable[[], Atoms]
    driver: Callable[[], Model]
    teacher: Callable[[], Model] | None
    temperatures_K: tuple[int, ...]
    between_K: int
    timestep_fs: float
    settling: int
    interval: int


@dataclass(frozen=True)
class System:
    """A data set with the foundation to be corrected on it."""

    name: str
    data: str
    foundation: FoundationSettings

    @property
    def recipe(self) -> Recipe:
        return RECIPES[self.data]


@dataclass(frozen=True)
class Sizes:
    """Trajectories per temperature, frames of each, and the divisor of all numbers of steps."""

    trajectories: int
    frames: int
    hurry: int


@dataclass(frozen=True)
class Frame:
    """A labelled frame and its origin."""

    training: TrainingFrame
    temperature_K: int
    trajectory: int

    @property
    def forces(self) -> np.ndarray:
        """(n, 3) label, eV/Å."""
        assert self.training.forces_eV_per_A is not None
        return self.training.forces_eV_per_A


@dataclass(frozen=True)
class Split:
    """Frames to fit, and frames of other trajectories."""

    train: list[Frame]
    held_out: list[Frame]


FULL, QUICK = Sizes(12, 10, 1), Sizes(3, 3, 3)


def sevennet(settings: SevenNetSettings) -> Model:
    """A SevenNet checkpoint as a function of one frame."""
    from ase.stress import full_3x3_to_voigt_6_stress

    from committee.backbones import load_backbone

    backbone = load_backbone(settings)

    def model(atoms: Atoms) -> Results:
        evaluation = backbone.evaluate([atoms])
        forces, stress = evaluation.foundation()
        periodic = bool(evaluation.volumes[0].isfinite())
        return (
            float(evaluation.energy[0].detach()),
            forces.numpy().astype(float),
            full_3x3_to_voigt_6_stress(stress[0].numpy().astype(float)) if periodic else None,
        )

    return model


def gfn2() -> Model:
    """GFN2-xTB through tblite."""
    from tblite.ase import TBLite

    calculator = TBLite(method="GFN2-xTB", verbosity=0)

    def model(atoms: Atoms) -> Results:
        calculator.calculate(atoms, properties=["energy", "forces"])
        return calculator.results["energy"], calculator.results["forces"].copy(), None

    return model


def slab() -> Atoms:
    """Return four layers of MgO (001), 16 atoms."""
    return surface(bulk("MgO", "rocksalt", 4.25, cubic=True), (0, 0, 1), 2, vacuum=6.0)


RECIPES = {
    "sic": Recipe(
        start=lambda: bulk("SiC", "zincblende", 4.36, cubic=True),
        driver=lambda: sevennet(SEVENNET),
        teacher=lambda: sevennet(TEACHER),
        temperatures_K=(1500,),
        between_K=1000,
        timestep_fs=1.0,
        settling=30,
        interval=10,
    ),
    "nacl": Recipe(
        start=lambda: bulk("NaCl", "rocksalt", 5.7, cubic=True),
        driver=lambda: sevennet(SEVENNET),
        teacher=lambda: sevennet(TEACHER),
        temperatures_K=(600, 1500, 3000),
        between_K=900,
        timestep_fs=4.0,
        settling=30,
        interval=10,
    ),
    "lif": Recipe(
        start=lambda: bulk("LiF", "rocksalt", 4.2, cubic=True),
        driver=lambda: sevennet(SEVENNET),
        teacher=lambda: sevennet(TEACHER),
        temperatures_K=(1000, 3000),
        between_K=2000,
        timestep_fs=2.0,
        settling=24,
        interval=6,
    ),
    "mgo": Recipe(
        start=slab,
        driver=lambda: sevennet(SEVENNET),
        teacher=lambda: sevennet(TEACHER),
        temperatures_K=(800, 2500),
        between_K=1500,
        timestep_fs=2.0,
        settling=24,
        interval=6,
    ),
    "ethanol": Recipe(
        start=lambda: read(ROOT / "configs" / "structures" / "ethanol.xyz"),
        driver=gfn2,
        teacher=None,
        temperatures_K=(300, 600, 1000),
        between_K=450,
        timestep_fs=0.5,
        settling=200,
        interval=50,
    ),
}
SYSTEMS = {
    "nacl": System("nacl", "nacl", SEVENNET),
    "ethanol": System("ethanol", "ethanol", SEVENNET),
    "distilled": System("distilled", "nacl", FairchemSettings(kind="fairchem", model=str(DISTILLED), task_name="omat")),
    "lif": System("lif", "lif", SEVENNET),
    "mgo": System("mgo", "mgo", SEVENNET),
}
STATISTICAL = ("nacl", "ethanol", "distilled")  # what a statistical script measures without --system


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that every statistical script takes."""
    parser.add_argument(
        "--system", choices=SYSTEMS, action="append", help="default: all that are present; ethanol if quick"
    )
    parser.add_argument("--quick", action="store_true", help="few small trajectories: shows that it runs")


def chosen_systems(arguments: argparse.Namespace) -> list[System]:
    """Return the chosen systems, or all whose foundation is present."""
    present = [name for name in STATISTICAL if name != "distilled" or DISTILLED.is_file()]
    return [SYSTEMS[name] for name in arguments.system or (["ethanol"] if arguments.quick else present)]


def measure_chosen(measure: Callable[..., None], description: str) -> None:
    """Read the command line and measure the systems it names: ``measure(system, quick=...)``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    arguments = parser.parse_args()
    for system in chosen_systems(arguments):
        measure(system, quick=arguments.quick)


def load_frames(system: System, temperatures_K: Sequence[int] | None = None, *, quick: bool = False) -> list[Frame]:
    """Read a system's frames; compute those that are not in the cache.

    Args:
        system: which one.
        temperatures_K: the recipe's if not given.
        quick: the small set.
    """
    recipe, sizes = system.recipe, QUICK if quick else FULL
    folder = CACHE / "frames" / (f"{system.data}-quick" if quick else system.data)
    chosen = temperatures_K or recipe.temperatures_K
    return [frame for temperature in chosen for frame in _at(recipe, folder, temperature, sizes)]


def load_between(system: System, *, quick: bool = False) -> list[Frame]:
    """Frames of the temperature that nothing is ever fitted on."""
    return load_frames(system, [system.recipe.between_K], quick=quick)


def split(frames: Sequence[Frame], per_temperature: int, seed: int) -> Split:
    """Choose a third of the trajectories of each temperature to fit on, and frames of them evenly.

    Args:
        frames: of any temperatures.
        per_temperature: number of frames to fit for each temperature.
        seed: of the choice.
    """
    rng = np.random.default_rng(seed)
    train: list[Frame] = []
    held_out: list[Frame] = []
    for temperature in sorted({frame.temperature_K for frame in frames}):
        mine = [frame for frame in frames if frame.temperature_K == temperature]
        numbers = sorted({frame.trajectory for frame in mine})
        fitted = set(rng.permutation(numbers)[: max(1, len(numbers) // 3)].tolist())
        pool = [frame for frame in mine if frame.trajectory in fitted]
        picked = np.linspace(0, len(pool) - 1, min(per_temperature, len(pool))).round().astype(int)
        train += [pool[i] for i in picked]
        held_out += [frame for frame in mine if frame.trajectory not in fitted]
    return Split(train, held_out)


def _at(recipe: Recipe, folder: Path, temperature_K: int, sizes: Sizes) -> list[Frame]:
    path = folder / f"{temperature_K}.extxyz"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        making(f"labelled frames of {folder.name} at {temperature_K} K")
        _make(path, recipe, temperature_K, sizes)
    name = f"{folder.name}-{temperature_K}"
    return [_frame(atoms, f"{name}-{i:03d}", temperature_K) for i, atoms in enumerate(read(path, ":"))]


def _frame(atoms: Atoms, name: str, temperature_K: int) -> Frame:
    trajectory = int(atoms.info["trajectory"])
    stress = atoms.info.get("REF_stress")
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    training = TrainingFrame(
        id=name,
        atoms=bare,
        energy_eV=float(atoms.info["REF_energy"]),
        forces_eV_per_A=atoms.arrays["REF_forces"],
        stress_eV_per_A3=None if stress is None else np.asarray(stress, dtype=float),
        group=f"{temperature_K}/{trajectory}",
    )
    return Frame(training, temperature_K, trajectory)


def _make(path: Path, recipe: Recipe, temperature_K: int, sizes: Sizes) -> None:
    """Run the trajectories of one temperature, label their frames, and write the file when all is done."""
    driver = recipe.driver()
    frames = []
    trajectories = max(2, sizes.trajectories // 3) if temperature_K == recipe.between_K else sizes.trajectories
    report = counting("trajectories")
    for trajectory in range(trajectories):
        report(trajectory, trajectories)
        for atoms, results in _trajectory(recipe, driver, temperature_K, trajectory, sizes):
            frames.append((trajectory, atoms, results))
    teacher = recipe.teacher() if recipe.teacher is not None else None
    labelled = [_labelled(n, atoms, results if teacher is None else teacher(atoms)) for n, atoms, results in frames]
    temporary = path.with_suffix(".tmp")
    write(temporary, labelled, format="extxyz")
    temporary.replace(path)


def _trajectory(
    recipe: Recipe, driver: Model, temperature_K: int, trajectory: int, sizes: Sizes
) -> list[tuple[Atoms, Results]]:
    rng = np.random.default_rng([temperature_K, trajectory])
    atoms = recipe.start()
    replica = LangevinReplica(atoms, temperature_K, recipe.timestep_fs, 20.0, rng)
    results = driver(atoms)
    settling, interval = recipe.settling // sizes.hurry, recipe.interval // sizes.hurry
    kept = []
    for step in range(1, settling + sizes.frames * interval + 1):
        replica.move(results[1])
        results = driver(atoms)
        replica.finish(results[1])
        if step > settling and (step - settling) % interval == 0:
            kept.append((atoms.copy(), results))
    return kept


def _labelled(trajectory: int, atoms: Atoms, results: Results) -> Atoms:
    energy, forces, stress = results
    frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    frame.info.update({"trajectory": trajectory, "REF_energy": energy})
    frame.arrays["REF_forces"] = forces
    if stress is not None:
        frame.info["REF_stress"] = stress
    return frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--temperature", type=int, action="append")
    arguments = parser.parse_args()
    for system in chosen_systems(arguments):
        chosen = arguments.temperature or (*system.recipe.temperatures_K, system.recipe.between_K)
        frames = load_frames(system, chosen, quick=arguments.quick)
        print(system.name, len(frames), "frames at", chosen, "K")


if __name__ == "__main__":
    main()
