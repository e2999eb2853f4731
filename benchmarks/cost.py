"""Cost of uncertainty in molecular dynamics: time of a step relative to the bare foundation's own ASE calculator.

    python benchmarks/cost.py [--foundation sevennet|distilled] [--system nacl|mgo] [--steps N] [--quick]

64 atoms, K = 8, one thread. The committee is trained on small cells with labels of 7net-l3i5 and calibrated on others
(kept in ``benchmarks/.cache``): frames of dynamics at 600 to 3000 K for the salt, rattled and strained cells for the
slab and with ``--quick``. Dynamics begun with velocities of 300 K and half the displacements should stay within the
trusted region, which exact values at some frames confirm. Each ratio is a median over steps
at which all calculators evaluated the same frame in turn, in CPU time, which other load affects least;
neighbour lists are included for all. The screen's cost is that of its steps weighted by how often each kind of step
occurred: plain, probed, and probed and then confirmed. The first check of a trajectory is always exact; its cost is
spread over 225 steps.
"""

import argparse
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from figures import at_least, at_most
from systems import CACHE, DISTILLED, SEVENNET, SYSTEMS, load_frames, sevennet, split
from systems import TEACHER as LABELS
from telling import counting, making

from committee import (
    CommitteeCalculator,
    CommitteePotential,
    CommitteeSettings,
    TrainingFrame,
    TrainingSettings,
    load,
    load_backbone,
    names,
    save,
    train,
)
from committee.backbones.contract import Backbone
from committee.settings import FairchemSettings
from committee.uncertainty.calibration import Calibration
from committee.uncertainty.screen import ForceScreen

TOLERANCES_EV_PER_A = {"sevennet": 0.15, "distilled": 0.3}  # what a committee on each can keep
TEMPERATURE_K = 300
STEPS = 225
DISTILLED_SETTINGS = FairchemSettings(kind="fairchem", model=str(DISTILLED), task_name="omat")
FOUNDATIONS = {"sevennet": SEVENNET, "distilled": DISTILLED_SETTINGS}


@dataclass(frozen=True)
class System:
    """A small cell for training and a large one for dynamics, with the size of thermal displacements.

    Attributes:
        small: cell of the labelled frames.
        large: 64 atoms.
        rattle_A: standard deviation of the labelled frames' displacements, smallest and largest.
        thermal_A: that of the dynamics' first frame.
        timestep_fs: of the dynamics.
    """

    small: Atoms
    large: Atoms
    rattle_A: tuple[float, float]
    thermal_A: float
    timestep_fs: float


def slab(repeats: tuple[int, int, int]) -> Atoms:
    """A MgO(001) slab of two or more layers, periodic in the plane and across the vacuum."""
    atoms = bulk("MgO", "rocksalt", a=4.25, cubic=True).repeat(repeats)
    atoms.center(vacuum=7.0, axis=2)
    return atoms


def systems() -> dict[str, System]:
    """Crystal and surface."""
    salt = bulk("NaCl", "rocksalt", a=5.70, cubic=True)
    return {
        "nacl": System(salt, salt.repeat(2), (0.05, 0.22), 0.05, 2.0),
        "mgo": System(slab((1, 1, 2)), slab((2, 2, 2)), (0.03, 0.14), 0.03, 1.0),
    }


def rattled(system: System, count: int, seed: int) -> list[Atoms]:
    """Displaced and strained small cells."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        atoms = system.small.copy()
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(size=(3, 3)) * 0.01), scale_atoms=True)
        atoms.rattle(rng.uniform(*system.rattle_A), rng=rng)
        frames.append(atoms)
    return frames


def labelled(frames: list[Atoms], name: str) -> list[TrainingFrame]:
    """The same with energies, forces and stresses of 7net-l3i5."""
    teacher = sevennet(LABELS)
    return [TrainingFrame(f"{name}-{i}", atoms, *teacher(atoms), group=f"{i}") for i, atoms in enumerate(frames)]


def frames(name: str, system: System, key: str, *, quick: bool) -> tuple[list[TrainingFrame], list[TrainingFrame]]:
    """Return training and calibration frames: from dynamics for the salt, rattled cells otherwise."""
    if name == "nacl" and not quick:
        parts = split(load_frames(SYSTEMS["nacl"]), 16, seed=0)
        return [frame.training for frame in parts.train], [frame.training for frame in parts.held_out[::3]]
    known = labelled(rattled(system, 6 if quick else 24, 1), f"{key}-train")
    return known, labelled(rattled(system, 30, 2), f"{key}-calibration")


def committee(
    backbone: Backbone, name: str, system: System, tolerance_eV_per_A: float, *, quick: bool
) -> CommitteePotential:
    """Return a trained and calibrated committee, from the cache if possible."""
    key = f"cost-{name}-{tolerance_eV_per_A:g}{'-quick' if quick else ''}-{backbone.fingerprint[:12]}"
    folder = CACHE / "committees" / key
    if folder.is_dir():
        return load(folder, backbone)
    making(f"the committee for {name}")
    known, unseen = frames(name, system, key, quick=quick)
    potential = train(
        backbone,
        known,
        committee=CommitteeSettings(),
        training=TrainingSettings(epochs=100) if quick else TrainingSettings(),
        cache_folder=CACHE / "tangents",
        seed=0,
        progress=counting("frames whose tangents are known, then epochs"),
    )
    predictions = potential.predict([frame.atoms for frame in unseen], "exact")
    errors = [
        np.linalg.norm(a.forces - frame.forces_eV_per_A, axis=1) for a, frame in zip(predictions, unseen, strict=True)
    ]
    calibration = Calibration.fit(
        errors,
        [a.atomic_force_uncertainty for a in predictions],
        [a.latent_distance for a in predictions],
        tolerance_eV_per_A=tolerance_eV_per_A,
    )
    potential = potential.with_calibration(calibration)
    folder.parent.mkdir(parents=True, exist_ok=True)
    save(potential, folder)
    return potential


def bare_calculator(foundation: str) -> Calculator:
    """The foundation's own ASE calculator, opened as the committee opens it."""
    if foundation == "sevennet":
        from sevenn.calculator import SevenNetCalculator

        return SevenNetCalculator("7net-0", device="cpu")
    from fairchem.core import FAIRChemCalculator
    from fairchem.core.units.mlip_unit import load_predict_unit
    from fairchem.core.units.mlip_unit.api.inference import InferenceSettings

    # As the committee opens it: without recomputed activations, which would make this side slower.
    how = InferenceSettings(execution_mode="general", activation_checkpointing=False)
    unit = load_predict_unit(str(DISTILLED), inference_settings=how, device="cpu")
    return FAIRChemCalculator(unit, task_name="omat")


def timed(calculator: Calculator, atoms: Atoms) -> float:
    """CPU seconds of one step's forces."""
    frame = atoms.copy()
    started = time.process_time()
    calculator.get_property("forces", frame)
    return time.process_time() - started


def screened(potential: CommitteePotential, seed: int) -> tuple[CommitteeCalculator, ForceScreen]:
    """Follow one trajectory with a screen of default settings."""
    screen = ForceScreen.from_calibration(potential.calibration, seed=seed)
    return CommitteeCalculator(potential, screen=screen), screen


def verlet(atoms: Atoms, timestep_fs: float, calculator: Calculator, steps: int) -> Iterator[Atoms]:
    """Yield the frames of molecular dynamics with the calculator's forces."""
    masses, timestep = atoms.get_masses()[:, None], timestep_fs * units.fs
    momenta = atoms.get_momenta()
    for _ in range(steps):
        momenta = momenta + timestep * calculator.get_property("forces", atoms)
        yield atoms
        atoms.positions += timestep * momenta / masses


def start(system: System) -> Atoms:
    """A frame with thermal displacements and velocities."""
    rng = np.random.default_rng(7)
    atoms = system.large.copy()
    atoms.rattle(system.thermal_A, rng=rng)
    momenta = rng.normal(size=atoms.positions.shape) * np.sqrt(atoms.get_masses() * units.kB * TEMPERATURE_K)[:, None]
    atoms.set_momenta(momenta - momenta.mean(0))
    return atoms


def measure(foundation: str, name: str, *, steps: int, every: int, quick: bool) -> None:
    """Run the dynamics and print the figures of one foundation and system."""
    system, backbone = systems()[name], load_backbone(FOUNDATIONS[foundation])
    potential = committee(backbone, name, system, TOLERANCES_EV_PER_A[foundation], quick=quick)
    calculators = {"bare": bare_calculator(foundation)}
    calculators |= {kind: CommitteeCalculator(potential, kind) for kind in ("energy", "probe", "exact")}
    atoms = start(system)
    for calculator in calculators.values():
        timed(calculator, atoms)  # the first calls compile
    (driver, always), (watcher, fifth) = screened(potential, 1), screened(potential, 2)
    seconds = {kind: [] for kind in calculators}
    ratios = []
    for step, frame in enumerate(verlet(atoms, system.timestep_fs, driver, steps)):
        if step % 5 == 0:
            watcher.get_property("forces", frame)
        if step % every == every - 1:
            for kind in np.roll(list(calculators), step // every):
                seconds[kind].append(timed(calculators[kind], frame))
            ratios.append(uncertainty_ratio(potential, calculators["exact"].results))
    label = f"{foundation}, {name}, {len(system.large)} atoms"
    print(f"# {label}: uncertainty over threshold of the timed frames, exact: {np.round(ratios, 2)}")
    at_least(f"{label}: share of timed frames that are trusted", float(np.mean(np.array(ratios) <= 1)), 0.95)
    figures(label, {kind: np.array(values) for kind, values in seconds.items()}, always, fifth)


def figures(label: str, seconds: dict[str, np.ndarray], always: ForceScreen, fifth: ForceScreen) -> None:
    """Print the ratios; a confirmed check costs its probe and the exact value's further passes."""
    ratio = {kind: float(np.median(values / seconds["bare"])) for kind, values in seconds.items()}
    plain, probe, exact = ratio["energy"], ratio["probe"], ratio["exact"]
    # The first check is always exact: counted once per trajectory of the usual length, however few were run.
    rates = [
        (screen.confirmations - 1) / (screen.checks - 1) + every / STEPS for screen, every in ((always, 1), (fifth, 5))
    ]
    checks = [probe + rate * (exact - plain) for rate in rates]
    print(
        f"# {label}: {len(seconds['bare'])} timed frames, bare {np.median(seconds['bare']):.3f} s CPU; over bare: "
        f"energy {plain:.2f}, probe {probe:.2f}, exact {exact:.2f}; exact values at {always.confirmations} of "
        f"{always.checks} checks (every step), {fifth.confirmations} of {fifth.checks} (every 5 steps)"
    )
    at_most(f"{label}: energy uncertainty and latent distance over bare", plain, 1.10)
    at_most(f"{label}: force-uncertainty screen every step over bare", checks[0], 1.8)
    at_most(f"{label}: force-uncertainty screen every 5 steps over bare", (4 * plain + checks[1]) / 5, 1.25)
    at_most(f"{label}: exact force uncertainty over 8 bare calls", exact / 8, 0.75)


def uncertainty_ratio(potential: CommitteePotential, exact: dict) -> float:
    """Largest uncertainty or latent distance of a frame in units of its threshold, from exact values."""
    calibration, distance = potential.calibration, exact[names.LATENT_DISTANCE]
    sigma = np.linalg.norm(exact[names.FORCES_UNCERTAINTY], axis=1)
    return max(
        calibration.frame_uncertainty(sigma, distance) / calibration.trust_threshold,
        distance.max() / calibration.latent_threshold,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--foundation", choices=FOUNDATIONS, action="append", help="default: all that are present")
    parser.add_argument("--system", choices=systems(), action="append", help="default: all; nacl if quick")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the dynamics")
    parser.add_argument("--quick", action="store_true", help="few steps, a coarse committee: shows that it runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="e3nn|torch|sevenn|fairchem")
    present = [name for name in FOUNDATIONS if name != "distilled" or DISTILLED.is_file()]
    for foundation in arguments.foundation or (present[:1] if arguments.quick else present):
        for name in arguments.system or (["nacl"] if arguments.quick else systems()):
            steps = 20 if arguments.quick else arguments.steps
            measure(foundation, name, steps=steps, every=4 if arguments.quick else 9, quick=arguments.quick)


if __name__ == "__main__":
    main()
