"""Heads, adaptation and the campaign's choice between them, against other ways to a potential from the same labels.

    python benchmarks/peers.py [--labels N] [--only heads|adapted|adam|sevennet|mace] [--mace-bin FOLDER] [--quick]

3BPA, DFT published by others (benchmarks/field.py says where): N labels at 300 K, tested on 60 frames each at 300, 600
and 1200 K. SevenNet is fine-tuned by its own command line, with the preset for fine-tuning that it ships
(benchmarks/fine_tuning.py). MACE is trained from nothing by its own command line, from an environment of its own, since
its e3nn is not that of fairchem-core::

    python -m venv ENV && ENV/bin/pip install torch==2.13.0 mace-torch && python benchmarks/peers.py --mace-bin ENV/bin

Without ``--mace-bin`` its rows are left out. What was trained once is kept in benchmarks/.cache. ``--quick``: four
labels, one epoch of SevenNet, one Jacobian, six frames at each temperature: shows that it runs.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import field
import numpy as np
from adapt import adapted, mae
from figures import at_most
from fine_tuning import EpochsOf, Peer, mace_forces, sevennet_checkpoint
from learned import backbone_of, fit
from systems import SYSTEMS, Frame

from al_loop.config.settings import GateSettings
from al_loop.stages.train.adaptation import HeldBackErrors, halves_of, is_flat, keeps_adapted, may_escalate
from committee import AdaptSettings, CommitteePotential, TrainingSettings
from committee.backbones import load_backbone
from committee.backbones.contract import Backbone, OpenBackbone
from committee.settings import SevenNetSettings

TEMPERATURES_K = (300, 600, 1200)
OURS = ("heads", "adapted", "adam")
ADAM_LOSS = TrainingSettings(loss="huber", huber_threshold_eV_per_A=0.01)  # as in SevenNet's preset
FRAMES = 210  # at home; the first field.POOL of them are drawn from
AUTO_TOLERANCE = 1.05  # of auto's error over the better candidate's

ByTemperature = dict[int, float]


@dataclass(frozen=True)
class Sizes:
    """Numbers of labels, of test frames at each temperature, of frames at home by which the campaign chooses, none of
    them a test frame; and the length of every training."""

    labels: tuple[int, ...]
    tested: int
    calibration: int
    adapt: AdaptSettings
    adam: AdaptSettings
    training: TrainingSettings
    epochs: EpochsOf


def _adam(epochs: int) -> AdaptSettings:
    return AdaptSettings(optimizer="adam", epochs=epochs, learning_rate=3e-3, replay_weight=0.0)


FULL = Sizes((50, 100), 60, 40, AdaptSettings(), _adam(40), TrainingSettings(), EpochsOf(sevennet=100, mace=100))
QUICK = Sizes(
    (4,),
    6,
    6,
    AdaptSettings(iterations=1, replay_share=0.0),
    _adam(1),
    TrainingSettings(epochs=40),
    EpochsOf(sevennet=1, mace=1),
)


@dataclass(frozen=True)
class Task:
    """Frames to fit, those by which candidates are judged, and those that measure, by temperature."""

    train: list[Frame]
    calibration: list[Frame]
    test: dict[int, list[Frame]]

    @classmethod
    def draw(cls, where: Path, labels: int, sizes: Sizes, seed: int) -> "Task":
        train, others = field.draw(field.molecule(where, field.HOME_K, FRAMES), seed, labels)
        hot = {temperature: field.molecule(where, temperature, sizes.tested) for temperature in field.MIXED}
        return cls(train, others[-sizes.calibration :], {field.HOME_K: others[: sizes.tested], **hot})

    def errors(self, predict: Callable[[Sequence[Frame]], list[np.ndarray]]) -> ByTemperature:
        """Return the force MAE at each temperature, eV/Å; ``predict`` gives the forces (n, 3) of frames."""
        found = {}
        for temperature, frames in self.test.items():
            pairs = zip(predict(frames), frames, strict=True)
            found[temperature] = float(np.abs(np.concatenate([forces - f.forces for forces, f in pairs])).mean())
        return found


def ours(task: Task, sizes: Sizes, seed: int, chosen: Sequence[str]) -> dict[str, ByTemperature]:
    """Measure the foundation, heads alone, the adapted foundation, heads on it, and the campaign's choice."""
    foundation = backbone_of(SYSTEMS["ethanol"])
    assert isinstance(foundation, OpenBackbone)
    found = {"foundation": _backbone(task, foundation)}
    heads = top = None
    if "heads" in chosen:
        heads = fit(foundation, task.train, seed, training=sizes.training)
        found["heads"] = task.errors(_forces(heads))
        _say("heads", found)
    if "adapted" in chosen:
        changed = adapted(foundation, task.train, sizes.adapt, seed)
        found["adapted"] = _backbone(task, changed)
        _say("adapted", found)
        top = fit(changed, task.train, seed, training=sizes.training)
        found["heads on the adapted"] = task.errors(_forces(top))
        _say("heads on the adapted", found)
    if "adam" in chosen:
        changed = adapted(foundation, task.train, sizes.adam, seed, ADAM_LOSS)
        found["adapted by Adam"] = _backbone(task, changed)
        _say("adapted by Adam", found)
        found["heads on that"] = task.errors(_forces(fit(changed, task.train, seed, training=sizes.training)))
        _say("heads on that", found)
    if heads is not None and top is not None:
        adapts = escalates(task, heads, top, sizes, seed)
        found["auto"] = found["heads on the adapted" if adapts else "heads"]
    return found


def escalates(task: Task, heads: CommitteePotential, top: CommitteePotential, sizes: Sizes, seed: int) -> bool:
    """Whether a campaign with ``train.adapt: auto`` would keep heads on the adapted foundation, by its own criteria."""
    gate = GateSettings()

    def held_back(potential: CommitteePotential) -> HeldBackErrors:
        pairs = zip(_forces(potential)(task.calibration), task.calibration, strict=True)
        return HeldBackErrors.of([forces - frame.forces for forces, frame in pairs], gate.force_tolerance_eV_per_A)

    errors = held_back(heads)
    if reason := may_escalate(errors, len(task.train), 0, gate):
        print(f"# auto keeps heads: {reason}", flush=True)
        return False
    halves = halves_of([frame.training.independent_group for frame in task.train], seed)
    on_halves = [fit(heads.backbone, [task.train[i] for i in half], seed, training=sizes.training) for half in halves]
    half_mae = float(np.mean([held_back(potential).force_mae_eV_per_A for potential in on_halves]))
    full_mae, adapted_mae = errors.force_mae_eV_per_A, held_back(top).force_mae_eV_per_A
    flat, better = is_flat(half_mae, full_mae), keeps_adapted(full_mae, adapted_mae)
    print(
        f"# auto: {errors.share(gate)}; force MAE of heads {full_mae:.4f} eV/Å, on half of the labels {half_mae:.4f} "
        f"({'flat' if flat else 'still falling'}), of heads on the adapted foundation {adapted_mae:.4f} "
        f"({'better' if better else 'not better'})",
        flush=True,
    )
    return flat and better


def measure(labels: int, sizes: Sizes, seed: int, chosen: Sequence[str], mace_bin: Path | None) -> None:
    """Print the force MAE of every way, then the figures."""
    where = field.folder()
    assert where is not None, field.MISSING
    task = Task.draw(where, labels, sizes, seed)
    found = ours(task, sizes, seed, chosen)
    peer = Peer([frame.training for frame in task.train], seed)
    if "sevennet" in chosen:
        checkpoint = sevennet_checkpoint(peer, sizes.epochs.sevennet)
        tuned = load_backbone(SevenNetSettings(kind="sevennet", model=str(checkpoint)))
        found["SevenNet's fine-tuning"] = _backbone(task, tuned)
        _say("SevenNet's fine-tuning", found)
    if "mace" in chosen and mace_bin is not None:
        found["MACE from nothing"] = task.errors(
            lambda frames: mace_forces(peer, mace_bin, where, sizes.epochs.mace, [f.training.atoms for f in frames])
        )
        _say("MACE from nothing", found)
    _report(labels, found)


def _report(labels: int, found: dict[str, ByTemperature]) -> None:
    say = f"3BPA, {labels} labels by DFT of others: force MAE of"
    for temperature in TEMPERATURES_K:
        error = {name: errors[temperature] for name, errors in found.items()}
        if "auto" not in error:
            continue
        better = min(error["heads"], error["heads on the adapted"])
        at_most(f"{say} auto over the better candidate's, {temperature} K", error["auto"] / better, AUTO_TOLERANCE)
        for peer in ("SevenNet's fine-tuning", "MACE from nothing"):
            if peer in error:
                at_most(f"{say} auto over that of {peer}, {temperature} K", error["auto"] / error[peer], 1.0)


def _backbone(task: Task, backbone: Backbone) -> ByTemperature:
    return {temperature: mae(backbone, frames)[0] for temperature, frames in task.test.items()}


def _forces(potential: CommitteePotential) -> Callable[[Sequence[Frame]], list[np.ndarray]]:
    return lambda frames: [found.forces for found in potential.predict([frame.training.atoms for frame in frames])]


def _say(name: str, found: dict[str, ByTemperature]) -> None:
    print(f"{name}: force MAE in eV/Å { ({t: round(error, 4) for t, error in found[name].items()}) }", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, action="append", help="default: 50 and 100")
    parser.add_argument("--only", choices=(*OURS, "sevennet", "mace"), action="append")
    parser.add_argument("--mace-bin", type=Path, help="folder of mace_run_train and mace_eval_configs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="four labels, few steps: shows that it runs")
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else FULL
    chosen = arguments.only or (*OURS, "sevennet", "mace")
    if field.folder() is None:
        parser.exit(message=f"{field.MISSING}\n")
    for labels in arguments.labels or sizes.labels:
        measure(labels, sizes, arguments.seed, chosen, arguments.mace_bin)


if __name__ == "__main__":
    main()
