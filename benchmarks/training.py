"""Benefit of cached tangents: epochs of the dense fit relative to epochs through the foundation.

    python benchmarks/training.py [--quick] [--foundation 7net-0] [--foundation distilled]

50 rattled frames of 8-atom NaCl and a committee of 8 with random last layers; labels do not matter for the time.
The epoch through autograd shares one evaluation of the foundation per batch of frames among all heads, and takes the
number of frames per batch that is fastest among a few. One thread.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from statistics import median

import numpy as np
import torch
from ase.build import bulk
from reference_path import accumulate_gradients

from committee.backbones import load_backbone
from committee.backbones.contract import Backbone
from committee.model.heads import ResidualHeads
from committee.settings import CommitteeSettings, FairchemSettings, SevenNetSettings, TrainingSettings
from committee.training.fitting import bootstrap_weights, training_loss
from committee.training.training_frame import TrainingFrame
from committee.training.training_set import TrainingSet

DISTILLED = Path(__file__).parents[1] / "tests" / "data" / "distilled" / "distilled.pt"
FOUNDATIONS = {
    "7net-0": SevenNetSettings(kind="sevennet", model="7net-0"),
    "distilled": FairchemSettings(kind="fairchem", model=str(DISTILLED), task_name="omat"),
}
COMMITTEE, TRAINING = CommitteeSettings(), TrainingSettings()
BATCHES = (1, 4, 8)
EPOCHS_AT_ONCE = 20


def frames_of(number: int) -> list[TrainingFrame]:
    rng = np.random.default_rng(0)
    frames = []
    for i in range(number):
        atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
        atoms.rattle(0.15, rng=rng)
        frames.append(
            TrainingFrame(f"frame{i}", atoms, -27.0, rng.normal(size=(8, 3)), rng.normal(size=6) * 0.01, group=str(i))
        )
    return frames


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU time: with one thread it equals the wall time of an idle machine."""
    started = time.process_time()
    work()
    return time.process_time() - started


class Comparison:
    """Time both ways to compute the gradient of one training set, in turn."""

    def __init__(self, backbone: Backbone, frames: list[TrainingFrame], folder: Path):
        self.backbone, self.frames, self.folder = backbone, frames, folder
        labelled = TrainingSet.read(backbone, frames, folder, TRAINING)
        self.shifts, self.latent = labelled.shifts(TRAINING), labelled.latent()
        self.heads = ResidualHeads(COMMITTEE, backbone.feature_size, tuple(sorted(backbone.elements)), seed=0)
        with torch.no_grad():
            self.heads.stack.w3.normal_().mul_(0.1)
        self.data = labelled.dense(self.heads, self.shifts, self.latent, COMMITTEE, TRAINING)
        self.heads.standardise_by(self.data.features, self.data.rows)
        self.heads.center(self.data.features, self.data.rows)
        self.plain = deepcopy(self.heads).to(backbone.dtype)
        self.weights = bootstrap_weights(COMMITTEE.members, len(frames), torch.Generator().manual_seed(0))

    def build_cache(self) -> None:
        with tempfile.TemporaryDirectory(dir=self.folder) as fresh:
            TrainingSet.read(self.backbone, self.frames, Path(fresh), TRAINING)

    def dense_epoch(self) -> float:
        """Execute one step of the fit: centring, loss, gradient, update."""
        optimizer = torch.optim.AdamW(self.heads.stack.parameters(), lr=0.0, weight_decay=0.0)
        loss = torch.zeros(())
        for _ in range(EPOCHS_AT_ONCE):
            self.heads.center(self.data.features, self.data.rows)
            optimizer.zero_grad()
            loss = training_loss(self.data.errors(self.heads), self.weights, TRAINING, likelihood=False)
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    def fastest_batch(self) -> int:
        """Frames per batch with which autograd is fastest, tried on some of the frames."""
        trial = max(BATCHES)
        times = {batch: seconds(lambda batch=batch: self.autograd_epoch(batch, trial)) for batch in BATCHES}
        print(f"{self.backbone.name}: frames per batch -> s per {trial} frames: {times}", flush=True)
        return min(times, key=times.__getitem__)

    def autograd_epoch(self, batch_frames: int, number: int | None = None) -> float:
        self.plain.zero_grad()
        return accumulate_gradients(
            self.backbone,
            self.plain,
            self.latent.metric(self.backbone.dtype),
            self.shifts,
            self.frames[:number],
            self.weights[:, :number],
            COMMITTEE,
            TRAINING,
            batch_frames=batch_frames,
        )


def measure(name: str, *, number: int, repeats: int) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as folder:
        both = Comparison(load_backbone(FOUNDATIONS[name]), frames_of(number), Path(folder))
        batch = both.fastest_batch()
        agreement = both.autograd_epoch(batch) / both.dense_epoch() - 1
        cache, dense, plain = [], [], []
        for repeat in range(repeats):
            plain.append(seconds(lambda: both.autograd_epoch(batch)))
            dense.append(seconds(both.dense_epoch) / EPOCHS_AT_ONCE)
            cache.append(seconds(both.build_cache))
            times = f"autograd {plain[-1]:.2f} s, dense {dense[-1]:.4f} s, cache {cache[-1]:.2f} s"
            print(f"{name}, repeat {repeat}: {times}", flush=True)
    ratio = median(a / b for a, b in zip(plain, dense, strict=True))
    price = median(a / b for a, b in zip(cache, plain, strict=True))
    return [
        figure(f"{name}: autograd epoch over cached epoch", ratio, ">= 50", ratio >= 50),
        figure(f"{name}: building the cache, in autograd epochs", price, "< 5", price < 5),
        figure(f"{name}: loss of the two, relative difference", abs(agreement), "<= 1e-4", abs(agreement) <= 1e-4),
    ]


def figure(name: str, value: float, target: str, holds: bool) -> dict[str, object]:
    return {"name": name, "value": float(f"{value:.4g}"), "target": target, "holds": bool(holds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 frames, 2 repeats")
    parser.add_argument("--foundation", choices=FOUNDATIONS, action="append", help="default: all that are present")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    present = [name for name in FOUNDATIONS if name != "distilled" or DISTILLED.is_file()]
    chosen = arguments.foundation or (["7net-0"] if arguments.quick else present)
    number, repeats = (8, 2) if arguments.quick else (50, 5)
    figures = [entry for name in chosen for entry in measure(name, number=number, repeats=repeats)]
    for entry in figures:
        print(json.dumps(entry))


if __name__ == "__main__":
    main()
