"""How well a plain checkpoint replaces a committee: its weights are fitted to the committee's own mean, without labels.

    python benchmarks/bake.py [--system nacl|ethanol|distilled] [--frames N] [--epochs N]
                              [--learning-rate X] [--batch N] [--replay SHARE] [--replay-weight X] [--quick]

A committee is trained on 16 labels at each of three temperatures. Short molecular dynamics of the committee at these
temperatures, in independent trajectories, gives the frames that the foundation's weights are fitted to; whole
trajectories of them are kept back. Figures: the difference between the plain model and the committee on the frames kept
back, and the same on labelled frames of other trajectories over the committee's own error there, which should be at
most a tenth. The labels of nacl are made here by 7net-l3i5, those of ethanol by GFN2-xTB.
"""

import argparse
import time

import numpy as np
from ase import Atoms
from ase.io import read, write
from figures import at_most
from learned import backbone_of, fit
from systems import CACHE, SYSTEMS, System, load_frames, split
from telling import counting, making

from al_loop.dynamics.constant_volume import LangevinReplica
from committee.baking import BAKE_SETTINGS, bake
from committee.potential import CommitteePotential
from committee.settings import AdaptSettings

SHARE = 0.1  # of the committee's error
FRICTION_PER_PS = 20.0
FRAMES_EACH = 30  # of a trajectory
INTERVAL = 4  # steps between two frames
SETTLING = 30


def explored(potential: CommitteePotential, system: System, count: int) -> list[Atoms]:
    """Frames of the committee's own dynamics with their trajectory in ``info``, computed once."""
    key = f"{system.name}-{count}-{potential.provenance.training_hash[:12]}-{potential.backbone.fingerprint[:12]}"
    path = CACHE / "explored" / f"{key}.traj"
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        making(f"{count} frames of {system.name} by the committee's dynamics")
        temporary = path.with_suffix(".tmp")
        write(temporary, explore(potential, system, count), format="traj")
        temporary.replace(path)
    return read(path, ":")


def explore(potential: CommitteePotential, system: System, count: int) -> list[Atoms]:
    """Run short trajectories at three temperatures, all in lockstep."""
    recipe, temperatures = system.recipe, system.recipe.temperatures_K
    each = min(FRAMES_EACH, max(1, count // len(temperatures)))
    replicas = [
        LangevinReplica(
            recipe.start(), kelvin, recipe.timestep_fs, FRICTION_PER_PS, np.random.default_rng([kelvin, n, 9])
        )
        for kelvin in temperatures
        for n in range(-(-count // (len(temperatures) * each)))
    ]
    frames = []
    forces = [prediction.forces for prediction in potential.predict([replica.atoms for replica in replicas])]
    report = counting("steps")
    steps = SETTLING + each * INTERVAL
    for step in range(1, steps + 1):
        for replica, force in zip(replicas, forces, strict=True):
            replica.move(force)
        forces = [prediction.forces for prediction in potential.predict([replica.atoms for replica in replicas])]
        for index, (replica, force) in enumerate(zip(replicas, forces, strict=True)):
            replica.finish(force)
            if step > SETTLING and (step - SETTLING) % INTERVAL == 0:
                moved = replica.atoms
                frame = Atoms(moved.numbers, moved.positions, cell=moved.cell, pbc=moved.pbc)
                frame.info["trajectory"] = f"trajectory {index}"
                frames.append(frame)
        report(step, steps)
    return frames


def measure(system: System, count: int, settings: AdaptSettings, *, quick: bool) -> None:
    """Print the figures of one system."""
    parts = split(load_frames(system, quick=quick), 3 if quick else 16, 0)
    potential = fit(backbone_of(system), parts.train, 0)
    frames = explored(potential, system, count)
    groups = [atoms.info["trajectory"] for atoms in frames]
    labelled = [frame.training for frame in parts.held_out]
    started = time.process_time()
    baked = bake(potential, frames, settings, groups=groups, labelled=labelled, progress=counting("steps of the fit"))
    seconds = time.process_time() - started
    errors = baked.label_errors
    assert errors is not None
    print(f"# {system.name}: {baked.fitted_frames} frames, {settings.epochs} epochs, {seconds:.0f} s of processor time")
    print(f"# plain model against the committee, frames kept back: {baked.difference}")
    print(f"# committee against labels: {errors.committee}; plain model: {errors.baked}")
    print(f"# plain model against the committee, labelled frames: {errors.difference}")
    at_most(f"{system.name}: force difference over the committee's error", errors.ratio or np.inf, SHARE)
    assert errors.baked.forces_eV_per_A is not None
    assert errors.committee.forces_eV_per_A is not None
    grown = errors.baked.forces_eV_per_A / errors.committee.forces_eV_per_A
    at_most(f"{system.name}: force error of the plain model over the committee's", grown, 1.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", choices=SYSTEMS, default=None, help="default: nacl; ethanol if quick")
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=BAKE_SETTINGS.epochs)
    parser.add_argument("--learning-rate", type=float, default=BAKE_SETTINGS.learning_rate)
    parser.add_argument("--batch", type=int, default=BAKE_SETTINGS.batch_frames)
    parser.add_argument("--replay", type=float, default=BAKE_SETTINGS.replay_share, help="share of replayed frames")
    parser.add_argument("--replay-weight", type=float, default=BAKE_SETTINGS.replay_weight)
    parser.add_argument("--quick", action="store_true", help="36 frames and one epoch: shows that it runs")
    arguments = parser.parse_args()
    system = SYSTEMS[arguments.system or ("ethanol" if arguments.quick else "nacl")]
    changes = {
        "epochs": 1 if arguments.quick else arguments.epochs,
        "learning_rate": arguments.learning_rate,
        "batch_frames": arguments.batch,
        "replay_share": arguments.replay,
        "replay_weight": arguments.replay_weight,
    }
    measure(
        system,
        36 if arguments.quick else arguments.frames,
        BAKE_SETTINGS.model_copy(update=changes),
        quick=arguments.quick,
    )


if __name__ == "__main__":
    main()
