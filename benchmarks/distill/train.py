"""The training loop: AdamW, a cosine schedule, an average over the last weights."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.distill.labels import STRESS_INDEX, Example
from benchmarks.distill.model import Scale, build_model
from benchmarks.distill.parallel import ShardGradient, gradients, trained
from benchmarks.distill.settings import DistillSettings

_LOG = logging.getLogger(__name__)
_ENERGY_WEIGHT, _STRESS_WEIGHT = 2.0, 2.0  # per eV/atom and eV/Å³, against 1 per eV/Å
_GRADIENT_NORM = 10.0
_WARM_UP = 0.02  # of all steps
_LONGEST_AVERAGE = 0.999
_WEIGHT_DECAY = 1e-3
_SHARDS = 2  # of a batch: as many processes share the work


@dataclass(frozen=True)
class Sample:
    """A frame as the model takes it, with labels in units of the task's scale.

    Attributes:
        data: fairchem's graph, without edges.
        n_atoms: of the frame.
        energy: without references.
        forces: (n, 3).
        stress: (3, 3), NaN without a label.
    """

    data: Any
    n_atoms: int
    energy: float
    forces: Tensor
    stress: Tensor


def prepare(examples: list[Example], scales: Mapping[str, Scale]) -> list[Sample]:
    """Turn labelled frames into samples."""
    return [_sample(example, scales[example.task]) for example in examples]


def fit_student(
    examples: list[Example],
    scales: Mapping[str, Scale],
    settings: DistillSettings,
    seed: int,
    workers: int,
    report: Callable[[int, float], None],
) -> nn.Module:
    """Train a fresh student and return the average of its weights, in evaluation mode.

    Args:
        examples: of the training set.
        scales: by task.
        settings: epochs, batches, learning rate.
        seed: of the weights, of the order, and of the model's own random numbers.
        workers: processes.
        report: called after each epoch with its number and the mean loss.
    """
    model = build_model(seed).train()
    rng = np.random.default_rng((seed, 1))
    parameters = trained(model)
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=_WEIGHT_DECAY)
    sizes = [len(example.atoms) for example in examples]
    batches = [_batches(sizes, settings.batch_atoms, rng) for _ in range(settings.epochs)]
    steps = sum(map(len, batches))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _cosine(step / steps))
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(min(_LONGEST_AVERAGE, 1 - 20 / (steps + 21))))
    with gradients(workers, partial(_shard_gradient, examples, scales)) as gradient_of:
        for epoch, shuffled in enumerate(batches, 1):
            losses = []
            for batch in shuffled:
                weights = parameters_to_vector(parameters).detach().numpy()
                gradient, loss = gradient_of(weights, [(int(rng.integers(2**31)), shard) for shard in batch])
                _set_gradient(parameters, torch.from_numpy(gradient))
                torch.nn.utils.clip_grad_norm_(parameters, _GRADIENT_NORM)
                optimiser.step()
                schedule.step()
                average.update_parameters(model)
                losses.append(loss)
            report(epoch, float(np.mean(losses)))
    average.module.eval()
    return average.module


def _shard_gradient(examples: list[Example], scales: Mapping[str, Scale]) -> ShardGradient:
    """Created in the process that uses it: thousands of tensors cannot be passed between processes."""
    return ShardGradient(build_model(0), _Loss(prepare(examples, scales)))


def _cosine(done: float) -> float:
    return min(1.0, (done + 1e-3) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _batches(sizes: list[int], batch_atoms: int, rng: np.random.Generator) -> list[list[list[int]]]:
    """Shuffled batches of a few shards each, every shard as large as fits."""
    shards: list[list[int]] = [[]]
    room = shard_atoms = batch_atoms // _SHARDS
    for index in rng.permutation(len(sizes)).tolist():
        if shards[-1] and sizes[index] > room:
            shards.append([])
            room = shard_atoms
        shards[-1].append(index)
        room -= sizes[index]
    return [shards[start : start + _SHARDS] for start in range(0, len(shards), _SHARDS)]


def _set_gradient(parameters: list[nn.Parameter], gradient: Tensor) -> None:
    parts = gradient.split([parameter.numel() for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)


@dataclass(frozen=True)
class _Loss:
    """Mean force error (norm per atom) plus energy per atom and stress, all in units of the task's scale."""

    samples: list[Sample]

    def __call__(self, model: nn.Module, frames: Sequence[int]) -> Tensor:
        batch = [self.samples[index] for index in frames]
        energy, forces, stress = _outputs(model, batch)
        counts = torch.tensor([sample.n_atoms for sample in batch])
        energy_error = (energy - torch.tensor([sample.energy for sample in batch])) / counts
        force_error = forces - torch.cat([sample.forces for sample in batch])
        labels = torch.stack([sample.stress for sample in batch])
        known = labels[:, 0, 0].isfinite()
        loss: Tensor = torch.linalg.vector_norm(force_error, dim=1).mean() + _ENERGY_WEIGHT * energy_error.abs().mean()
        if known.any():
            loss = loss + _STRESS_WEIGHT * (stress[known] - labels[known]).abs().mean()
        return loss


def _outputs(model: nn.Module, batch: list[Sample]) -> tuple[Tensor, Tensor, Tensor]:
    """Energy (B,), forces (N, 3), stress (B, 3, 3); a task's output is zero for the frames of the others."""
    from fairchem.core.datasets.atomic_data import atomicdata_list_to_batch

    outputs = model(atomicdata_list_to_batch([sample.data for sample in batch]))

    def total(prop: str) -> Tensor:
        parts: list[Tensor] = [value[prop] for name, value in outputs.items() if name.endswith(f"_{prop}")]
        return torch.stack(parts).sum(0)

    return total("energy").float(), total("forces"), total("stress").view(-1, 3, 3).float()


def _sample(example: Example, scale: Scale) -> Sample:
    from fairchem.core.datasets.atomic_data import AtomicData

    atoms = example.atoms.copy()
    atoms.set_cell(atoms.cell.complete())  # a cell without volume would make NaN of the stress, and of its slope
    data = AtomicData.from_ase(atoms, task_name=example.task, r_data_keys=["spin", "charge"])
    stress = torch.full((3, 3), torch.nan)
    if example.stress_eV_per_A3 is not None:
        for (row, column), value in zip(STRESS_INDEX, example.stress_eV_per_A3 / scale.rmsd, strict=True):
            stress[row, column] = stress[column, row] = value
    return Sample(
        data=data,
        n_atoms=len(atoms),
        energy=(example.energy_eV - scale.reference_eV(atoms.numbers)) / scale.rmsd,
        forces=torch.tensor(example.forces_eV_per_A / scale.rmsd, dtype=torch.float32),
        stress=stress,
    )
