"""A complete distillation, from sampling to the evaluated checkpoint."""

import json
import logging
import os
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from benchmarks.distill.evaluate import check_md, held_out_errors
from benchmarks.distill.labels import OMAT, OMOL, TEACHERS, Example
from benchmarks.distill.model import MODEL_CONFIG, Scale, write_checkpoint
from benchmarks.distill.sampling import Samples, sample
from benchmarks.distill.settings import DistillSettings
from benchmarks.distill.train import fit_student
from committee.backbones.fairchem import load_fairchem
from committee.settings import FairchemSettings

CHECKPOINT, RECIPE = "distilled.pt", "recipe.json"
_LOG = logging.getLogger(__name__)
_PACKAGES = ("torch", "fairchem-core", "sevenn", "tblite", "ase", "numpy")


def distill(settings: DistillSettings, output: Path, *, seed: int, workers: int = 1, command: str = "") -> Path:
    """Sample, label, train and measure; the same seed gives the same weights on the same machine, whatever workers.

    Args:
        settings: sizes.
        output: folder for ``distilled.pt`` and ``recipe.json``; created.
        seed: of everything.
        workers: processes that label and train.
        command: for the recipe.

    Returns:
        path of the checkpoint.
    """
    output.mkdir(parents=True, exist_ok=True)
    clock = _Clock()
    samples = sample(settings, seed, workers)
    clock.lap("label")
    scales = {task: Scale.fit(_of(samples.train, task)) for task in (OMAT, OMOL)}

    def report(epoch: int, loss: float) -> None:
        _LOG.info("epoch %d of %d: loss %.4f", epoch, settings.epochs, loss)

    student = fit_student(samples.train, scales, settings, seed, workers, report)
    path = output / CHECKPOINT
    write_checkpoint(path, student.state_dict(), scales)
    clock.lap("train")
    errors = _errors(path, samples.held_out)
    _LOG.info("held out: %s", errors)
    figures = {"held_out": errors, "md_300K": check_md(path, settings.md_ps, seed, workers)}
    clock.lap("measure")
    recipe = _recipe(settings, seed, command, samples, student) | figures | {"seconds": clock.laps}
    (output / RECIPE).write_text(json.dumps(recipe, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path


class _Clock:
    """Wall and processor seconds of each part; processes that have ended count."""

    def __init__(self) -> None:
        self.laps: dict[str, dict[str, float]] = {}
        self._started = self._last = self._now()

    def lap(self, name: str) -> None:
        """End a part, and bring the sum of all parts up to date."""
        now = self._now()
        self.laps[name] = {key: round(now[key] - self._last[key], 1) for key in now}
        self.laps["all"] = {key: round(now[key] - self._started[key], 1) for key in now}
        self._last = now

    @staticmethod
    def _now() -> dict[str, float]:
        times = os.times()
        cpu = times.user + times.system + times.children_user + times.children_system
        return {"wall": times.elapsed, "cpu": cpu}


def _of(examples: list[Example], task: str) -> list[Example]:
    return [example for example in examples if example.task == task]


def _errors(path: Path, held_out: list[Example]) -> dict[str, dict[str, Any]]:
    """Errors by task; the checkpoint is opened as a user opens it."""
    errors = {}
    for task in (OMAT, OMOL):
        backbone = load_fairchem(FairchemSettings(kind="fairchem", model=str(path), task_name=task))
        errors[task] = held_out_errors(backbone, _of(held_out, task))
    return errors


def _recipe(settings: DistillSettings, seed: int, command: str, samples: Samples, student: nn.Module) -> dict[str, Any]:
    def sizes(examples: list[Example]) -> dict[str, int]:
        return {"frames": len(examples), "atoms": sum(len(example.atoms) for example in examples)}

    return {
        "command": command,
        "seed": seed,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "teachers": TEACHERS,
        "settings": asdict(settings),
        "model": MODEL_CONFIG["backbone"],
        "parameters": sum(parameter.numel() for parameter in student.parameters()),
        "data": {
            side: {task: sizes(_of(examples, task)) for task in (OMAT, OMOL)}
            for side, examples in (("train", samples.train), ("held_out", samples.held_out))
        },
    }
