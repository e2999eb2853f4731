"""Fit of the heads: full-batch AdamW on all members at once."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from committee.model.heads import ResidualHeads
from committee.settings import TrainingSettings
from committee.training.dense import DenseData
from committee.training.losses import Errors, likelihood_losses, member_losses
from committee.training.training_state import StateFile, Tensors, TrainingState, moments_of, restore_moments

_LOG = logging.getLogger(__name__)
SCORE_EVERY_EPOCHS = 10
SAVE_EVERY_EPOCHS = 25  # a few MB and milliseconds each time

Score = Callable[[ResidualHeads], float]


def bootstrap_weights(members: int, frames: int, generator: torch.Generator) -> Tensor:
    """Draw Bayesian bootstrap weights: exponential, one per member and frame, (K, B), mean 1 per member.

    Rubin, Ann. Stat. 9, 130 (1981). Unlike drawing frames with replacement it never omits the only frame of its
    kind for a member, which matters with few labels.
    """
    weights = -torch.rand(members, frames, generator=generator).clamp_min(1e-12).log()
    return weights / weights.mean(1, keepdim=True)


def training_loss(errors: Errors, weights: Tensor, settings: TrainingSettings, *, likelihood: bool) -> Tensor:
    """Return the sum over members of the mean loss over frames; weights (K, B) are the bootstrap's."""
    if likelihood:
        # All members share the likelihood of the forces, so bootstrap weights do not apply to it.
        return likelihood_losses(errors, settings).mean(1).sum()
    return (weights * member_losses(errors, settings)).mean(1).sum()


@dataclass
class _Best:
    """The heads with the best score on the held-out frames."""

    score: float = math.inf
    epoch: int = 0
    weights: Tensors = field(default_factory=dict)

    def offer(self, score: float, epoch: int, heads: ResidualHeads) -> None:
        if score < self.score:
            self.score, self.epoch, self.weights = score, epoch, _copy(heads)


def fit_heads(
    heads: ResidualHeads,
    data: DenseData,
    settings: TrainingSettings,
    seed: int,
    *,
    score: Score | None = None,
    state: StateFile | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Fit in place, with a cosine schedule of the learning rate, then centre the heads.

    With a ``score`` on held-out frames, lower is better, the best heads are kept and the fit stops early. The fit is
    saved to ``state`` periodically and resumes from it.
    """
    weights = bootstrap_weights(len(heads.centers), len(data.energies), torch.Generator().manual_seed(seed))
    weights = weights.to(data.energies.device)
    optimizer = torch.optim.AdamW(heads.stack.parameters(), weight_decay=settings.weight_decay)
    done, best = _resume(heads, optimizer, state)
    if score is not None and done == 0:
        best.offer(_scored(heads, data, score), 0, heads)
    for epoch in range(done + 1, settings.epochs + 1):
        _step(heads, data, settings, weights, optimizer, epoch)
        if score is not None and (epoch % SCORE_EVERY_EPOCHS == 0 or epoch == settings.epochs):
            best.offer(_scored(heads, data, score), epoch, heads)
        if state is not None and epoch % SAVE_EVERY_EPOCHS == 0:
            moments = moments_of(optimizer, _names(heads))
            state.write(TrainingState(epoch, _copy(heads), moments, best.weights, best.score, best.epoch))
        if progress is not None:
            progress(epoch, settings.epochs)
        if score is not None and epoch - best.epoch >= settings.patience_epochs:
            break
    if best.weights:
        _LOG.info("best score on the held-out frames after %d of %d epochs", best.epoch, settings.epochs)
        heads.stack.load_state_dict(best.weights)
    heads.center(data.features, data.rows)


def _step(
    heads: ResidualHeads,
    data: DenseData,
    settings: TrainingSettings,
    weights: Tensor,
    optimizer: torch.optim.Optimizer,
    epoch: int,
) -> None:
    rate = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / settings.epochs))
    for group in optimizer.param_groups:
        group["lr"] = rate
    heads.center(data.features, data.rows)
    optimizer.zero_grad()
    # Members that all start at zero have no spread, which the likelihood needs: the squared loss builds it up first.
    likelihood = settings.loss == "likelihood" and 2 * epoch > settings.epochs
    training_loss(data.errors(heads), weights, settings, likelihood=likelihood).backward()
    optimizer.step()


def _scored(heads: ResidualHeads, data: DenseData, score: Score) -> float:
    heads.center(data.features, data.rows)
    return score(heads)


def _resume(heads: ResidualHeads, optimizer: torch.optim.Optimizer, state: StateFile | None) -> tuple[int, _Best]:
    saved = None if state is None else state.read()
    if saved is None:
        return 0, _Best()
    heads.stack.load_state_dict(saved.weights)
    restore_moments(optimizer, _names(heads), saved.moments)
    return saved.epoch, _Best(saved.best_score, saved.best_epoch, saved.best)


def _names(heads: ResidualHeads) -> list[str]:
    return [name for name, _ in heads.stack.named_parameters()]


def _copy(heads: ResidualHeads) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in heads.stack.state_dict().items()}
