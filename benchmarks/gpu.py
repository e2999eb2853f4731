"""What a GPU makes of it: dynamics, tangents and lockstep exploration with a random model of the size of UMA-s.

    python benchmarks/gpu.py [--device cuda|cpu] [--quick]

The model has 4 layers, 128 channels and 32 experts, as uma-s has. Steps per second of molecular dynamics with a
committee of 8 and its screen are compared with fairchem's own calculator at its default settings (fast kernels,
compiled) on the same frames in turn, for 64 to 1000 atoms; then tangents per second with the default directions, and
steps per second of 64 replicas of 8 atoms in lockstep. Wall time, after a warm-up. Without a GPU the script says so.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from figures import at_least, report

from al_loop.config import ExploreSettings, PhysicsSettings
from al_loop.records import Role
from al_loop.stages.explore.lockstep import Lockstep
from al_loop.structures.start import Start
from committee import CommitteeCalculator, CommitteePotential, TrainingFrame, TrainingSettings, load_backbone, train
from committee.backbones.contract import execution_of
from committee.settings import FairchemSettings
from committee.training.training_set import TrainingSet
from committee.uncertainty.screen import ForceScreen

SIZES = {64: (2, 2, 2), 216: (3, 3, 3), 512: (4, 4, 4), 1000: (5, 5, 5)}
STEPS, REPLICAS = 20, 64


def random_uma(path: Path, *, quick: bool) -> Path:
    """Write a fairchem checkpoint with random weights, as large as uma-s unless ``quick``."""
    import hydra

    sys.path.append(str(Path(__file__).parents[1]))  # where the package benchmarks.distill is
    from benchmarks.distill.labels import OMAT, OMOL
    from benchmarks.distill.model import MODEL_CONFIG, Scale, write_checkpoint

    config = json.loads(json.dumps(MODEL_CONFIG))
    config["model_id"] = "UMA-S-1.2.1"
    channels, layers, experts = (16, 1, 2) if quick else (128, 4, 32)
    config["backbone"] |= {
        "model": "fairchem.core.models.uma.escn_moe.eSCNMDMoeBackbone",
        "sphere_channels": channels,
        "hidden_channels": channels,
        "edge_channels": channels,
        "num_distance_basis": 64,
        "num_layers": layers,
        "cutoff": 6.0,
        "num_experts": experts,
        "use_composition_embedding": True,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = hydra.utils.instantiate(config)
    scale = Scale(dict.fromkeys(range(1, 84), -1.0), 1.0)
    write_checkpoint(path, model.state_dict(), {OMAT: scale, OMOL: scale}, config)
    return path


def salt(repeat: tuple[int, int, int], seed: int) -> Atoms:
    """Return a rattled cell of 8 atoms, repeated."""
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(repeat)
    atoms.rattle(0.05, seed=seed)
    return atoms


def seconds(work: Callable[[], object], device: str) -> float:
    """Return the wall time of work on the device."""
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def dynamics(potential: CommitteePotential, path: Path, device: str, sizes: dict[int, tuple[int, int, int]]) -> None:
    """Compare steps of the committee with its screen with those of fairchem's calculator, frame by frame."""
    from fairchem.core import FAIRChemCalculator
    from fairchem.core.units.mlip_unit import load_predict_unit

    for size, repeat in sizes.items():
        plain = FAIRChemCalculator(load_predict_unit(path, device=device), task_name="omat")
        screened = CommitteeCalculator(potential, screen=ForceScreen(1e3))
        atoms = salt(repeat, 0)
        rows = []
        for step in range(3 + STEPS):
            atoms.rattle(0.002, seed=step)
            row = []
            for calculator in (plain, screened):
                copied = atoms.copy()
                copied.calc = calculator
                row.append(seconds(copied.get_forces, device))
            rows.append(row)
        own, fairchem = (median(row[i] for row in rows[3:]) for i in (1, 0))
        print(f"# {size} atoms: committee with screen {1 / own:.2f} steps/s, fairchem {1 / fairchem:.2f} steps/s")
        at_least(f"{size} atoms: steps per second, committee with screen over fairchem's default", fairchem / own, 0.5)


def tangents(potential: CommitteePotential, device: str, count: int) -> None:
    """Time the tangents of frames of 8 atoms with the default directions."""
    frames = labelled(count)
    training = TrainingSettings()
    work = []
    for _ in range(2):  # the first is the warm-up
        with tempfile.TemporaryDirectory() as name:
            work.append(seconds(lambda: TrainingSet.read(potential.backbone, frames, Path(name), training), device))
    report("tangents of frames of 8 atoms per second", count / work[-1], "stated", holds=True)


def lockstep(potential: CommitteePotential, device: str, steps: int) -> None:
    """Time exploration steps of many small replicas."""
    cells = [salt((1, 1, 1), i) for i in range(REPLICAS)]
    starts = [Start(str(i), str(i), Role.EXPLORE, atoms, atoms.copy(), 300.0, (i,)) for i, atoms in enumerate(cells)]
    physics = PhysicsSettings(allow_dissociation=True, max_temperature_K=1e5, max_temperature_ratio=1000.0)
    replicas = Lockstep(potential, starts, ExploreSettings(temperatures_K=(300.0,), steps=1000, check_every=5), physics)
    replicas.advance()
    taken = seconds(lambda: [replicas.advance() for _ in range(steps)], device)
    report(f"steps per second of {REPLICAS} replicas in lockstep", steps / taken, "stated", holds=True)


def labelled(count: int) -> list[TrainingFrame]:
    """Return frames with random labels, which do not matter for the time."""
    rng = np.random.default_rng(0)
    return [
        TrainingFrame(f"frame{i}", salt((1, 1, 1), i), -27.0, rng.normal(size=(8, 3)), None, group=str(i))
        for i in range(count)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu shows that it runs")
    parser.add_argument("--quick", action="store_true", help="a tiny model, the smallest cell, without fairchem")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print(f"# torch {torch.__version__} finds no CUDA device here: nothing was measured")
        return
    with tempfile.TemporaryDirectory() as name:
        path = random_uma(Path(name) / "random.pt", quick=arguments.quick)
        settings = FairchemSettings(
            kind="fairchem", model=str(path), task_name="omat", device=arguments.device, merge_experts=True
        )
        backbone = load_backbone(settings)
        print(f"# {torch.cuda.get_device_name() if arguments.device == 'cuda' else 'cpu'}; {execution_of(backbone)}")
        training = TrainingSettings(epochs=20)
        potential = train(backbone, labelled(4), training=training)
        if not arguments.quick:
            dynamics(potential, path, arguments.device, SIZES)
        tangents(potential, arguments.device, 4 if arguments.quick else 64)
        lockstep(potential, arguments.device, 2 if arguments.quick else STEPS)


if __name__ == "__main__":
    main()
