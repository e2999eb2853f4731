"""Held-out frames of a fit: their choice and the loss of the committee's mean on them."""

import logging
from collections.abc import Callable, Sequence
from copy import deepcopy

import numpy as np
import torch

from committee.model.heads import ResidualHeads
from committee.potential import CommitteePotential
from committee.settings import TrainingSettings
from committee.training.dense import DenseData
from committee.training.fitting import Score
from committee.training.losses import Errors, errors_of_frame, member_losses
from committee.training.training_frame import TrainingFrame
from committee.training.training_set import TrainingSet

_LOG = logging.getLogger(__name__)


def split_by_group(groups: Sequence[str], fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Split B frames into fitted and held-out ones without dividing a group.

    Groups are drawn at random until they hold the requested fraction; the last group is never drawn. With a fraction of
    0, or a single group, none is held out. Returns the indices of the fitted and of the held-out frames.
    """
    names = sorted(set(groups))
    if fraction > 0 and len(names) == 1:
        _LOG.warning("All frames belong to one trajectory: none can be held out, training without early stopping.")
    order = np.random.default_rng(seed).permutation(len(names))[:-1]
    held: set[str] = set()
    for i in order:
        if sum(group in held for group in groups) >= fraction * len(groups):
            break
        held.add(names[i])
    kept = [i for i, group in enumerate(groups) if group not in held]
    return kept, [i for i, group in enumerate(groups) if group in held]


def held_back_score(
    held: TrainingSet,
    dense: Callable[[TrainingSet], DenseData],
    potential: Callable[[ResidualHeads], CommitteePotential],
    settings: TrainingSettings,
) -> Score | None:
    """Return the loss of the committee's mean on held-out frames, with their full forces; None without such frames.

    Exact tangents hold the full forces. Random directions do not: the potential itself predicts those frames. ``dense``
    makes the tensors of some frames, ``potential`` a potential from heads, which it may change.
    """
    if not held.frames:
        return None
    exact = held.part([i for i, entry in enumerate(held.tangents) if entry.is_exact])
    random = held.part([i for i, entry in enumerate(held.tangents) if not entry.is_exact])
    data = dense(exact) if exact.frames else None

    def score(heads: ResidualHeads) -> float:
        loss = 0.0
        if data is not None:
            with torch.no_grad():
                loss += float(member_losses(data.errors(heads).of_mean(), settings).sum())
        if random.frames:
            errors = _full_errors(potential(deepcopy(heads)), random.frames, settings)
            loss += float(member_losses(errors, settings).sum())
        return loss / len(held.frames)

    return score


def _full_errors(potential: CommitteePotential, frames: Sequence[TrainingFrame], settings: TrainingSettings) -> Errors:
    energies, directions = [], []
    for i, (frame, prediction) in enumerate(zip(frames, potential.predict([f.atoms for f in frames]), strict=True)):
        unshifted = prediction.energy - potential.shifts.total_eV(frame.atoms.numbers)
        energies.append((unshifted - frame.energy_above(potential.shifts)) / len(frame.atoms))
        forces, stress = frame.forces_eV_per_A, frame.stress_eV_per_A3
        directions += errors_of_frame(
            i,
            None if forces is None else torch.as_tensor(prediction.forces - forces)[None],
            None if stress is None or prediction.stress is None else torch.as_tensor(prediction.stress - stress)[None],
            settings,
        )
    energy_errors = torch.tensor(energies, dtype=torch.float64)
    weights = settings.energy_weight * torch.isfinite(energy_errors).double()
    return Errors(energy_errors.nan_to_num()[None], weights, directions)
