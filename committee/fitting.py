"""The dense fit: full-batch Adam on all members at once."""

from collections.abc import Callable

import torch
from torch import Tensor

from committee.dense import DenseData
from committee.heads import ResidualHeads
from committee.settings import TrainingSettings


def bootstrap_weights(members: int, frames: int, generator: torch.Generator) -> Tensor:
    """Bayesian bootstrap: each member sees every frame with its own exponential weight, (K, B), mean 1 per member.

    Rubin, Ann. Stat. 9, 130 (1981). Unlike drawing frames with replacement it never leaves a member without the
    only frame of its kind, which matters with a handful of labels.
    """
    weights = -torch.rand(members, frames, generator=generator).clamp_min(1e-12).log()
    return weights / weights.mean(1, keepdim=True)


def fit_heads(
    heads: ResidualHeads,
    data: DenseData,
    settings: TrainingSettings,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Fit in place, with a cosine schedule of the learning rate, then centre the heads.

    Args:
        heads: in float32.
        data: the training set.
        settings: epochs, rates and weights.
        seed: of the bootstrap weights.
        progress: called with (epochs done, epochs).
    """
    generator = torch.Generator().manual_seed(seed)
    members = len(heads.centers)
    weights = bootstrap_weights(members, len(data.energies), generator)
    parameters = list(heads.stack.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs)
    for epoch in range(settings.epochs):
        heads.center(data.features, data.rows)
        optimizer.zero_grad()
        loss = (weights * data.member_losses(heads)).mean(1).sum()
        loss.backward()
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(epoch + 1, settings.epochs)
    heads.center(data.features, data.rows)
