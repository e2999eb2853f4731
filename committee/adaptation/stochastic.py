"""Mini-batch training of a foundation's weights."""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from committee.adaptation.objective import BATCH_ATOMS, AdaptationData, Target, held_out_loss, losses, replayed_frames
from committee.adaptation.trainable import Best, TrainableWeights
from committee.errors import FoundationError
from committee.prediction import split_by_atoms
from committee.settings import AdaptSettings, TrainingSettings
from committee.training.training_state import StateFile, TrainingState, moments_of, restore_moments

_LOG = logging.getLogger(__name__)
WARMUP = 0.05  # share of the steps over which the learning rate rises

Progress = Callable[[int, int], None]


def fit_adam(
    weights: TrainableWeights,
    data: AdaptationData,
    settings: AdaptSettings,
    training: TrainingSettings,
    seed: int,
    state: StateFile | None,
    progress: Progress | None,
) -> None:
    """Train in place with Adam on mini-batches, with warm-up and a cosine schedule of the learning rate.

    With held-out frames the best weights are kept and training stops early. The fit is saved to ``state`` after each
    epoch and resumes from it.
    """
    optimizer = torch.optim.Adam(weights.parameters)
    done, best = _resume(weights, optimizer, state)
    per_epoch = math.ceil(len(data.labelled) / settings.batch_frames)
    total = per_epoch * settings.epochs
    if data.held_out and done == 0:
        best = Best(held_out_loss(weights.backbone, data, training), 0, weights.copy())
    for epoch in range(done + 1, settings.epochs + 1):
        if data.held_out and epoch - 1 - best.epoch >= settings.patience_epochs:
            break
        for step, batch in enumerate(_batches(data, settings, seed, epoch), per_epoch * (epoch - 1) + 1):
            _step(weights, optimizer, batch, settings, training, _learning_rate(settings, step, total))
            if progress is not None:
                progress(step, total)
        if data.held_out and (score := held_out_loss(weights.backbone, data, training)) < best.score:
            best = Best(score, epoch, weights.copy())
        if state is not None:
            moments = moments_of(optimizer, weights.names)
            state.write(TrainingState(epoch, weights.copy(), moments, best.weights, best.score, best.epoch))
    if best.weights:
        _LOG.info("lowest loss on the held-out frames after %d of %d epochs", best.epoch, settings.epochs)
        weights.restore(best.weights)


def _learning_rate(settings: AdaptSettings, step: int, total: int) -> float:
    warmup = min(1.0, step / max(1.0, WARMUP * total))
    return settings.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * (step - 1) / total))


@dataclass(frozen=True)
class _Batch:
    labelled: list[Target]
    replayed: list[Target]


def _batches(data: AdaptationData, settings: AdaptSettings, seed: int, epoch: int) -> Iterator[_Batch]:
    """Shuffle the labelled frames and spread a new choice of replayed frames over the batches."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(data.labelled))
    parts = [order[i : i + settings.batch_frames] for i in range(0, len(order), settings.batch_frames)]
    count = min(replayed_frames(len(order), settings), len(data.replayed))
    replayed = np.array_split(rng.permutation(len(data.replayed))[:count], len(parts))
    for mine, others in zip(parts, replayed, strict=True):
        yield _Batch([data.labelled[i] for i in mine], [data.replayed[i] for i in others])


def _step(
    weights: TrainableWeights,
    optimizer: torch.optim.Optimizer,
    batch: _Batch,
    settings: AdaptSettings,
    training: TrainingSettings,
    rate: float,
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    scales = [1.0 / len(batch.labelled)] * len(batch.labelled)
    scales += [settings.replay_weight * target.tolerance / len(batch.replayed) for target in batch.replayed]
    targets = [*batch.labelled, *batch.replayed]
    start = 0
    for part in split_by_atoms([target.atoms for target in targets], BATCH_ATOMS):  # bounds the memory of the graph
        chosen = slice(start, start := start + len(part))
        found = losses(weights.backbone, targets[chosen], training, train=True)
        (found * torch.tensor(scales[chosen]).to(found)).sum().backward()  # type: ignore[no-untyped-call]
    if not all(bool(weight.grad.isfinite().all()) for weight in weights.parameters if weight.grad is not None):
        raise FoundationError(
            f"The adaptation of {weights.backbone.base_name} diverged: a gradient is NaN or infinite. Lower "
            f"learning_rate (it is {settings.learning_rate:g}), or check the labels with the largest errors."
        )
    optimizer.step()
    if settings.pull_to_foundation:
        weights.pull(rate * settings.pull_to_foundation)


def _resume(weights: TrainableWeights, optimizer: torch.optim.Optimizer, state: StateFile | None) -> tuple[int, Best]:
    saved = None if state is None else state.read()
    if saved is None:
        return 0, Best()
    weights.restore(saved.weights)
    restore_moments(optimizer, weights.names, saved.moments)
    return saved.epoch, Best(saved.best_score, saved.best_epoch, saved.best)
