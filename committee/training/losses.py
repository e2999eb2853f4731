"""Losses: squared error, Huber, or the Gaussian likelihood of the forces under the committee."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from committee.model.directions import STRESS_SCALE
from committee.settings import TrainingSettings

ENERGY_SHARE = 0.1  # Å; the error of the energy per atom over that of a force component, on good labels; larger on bad


@dataclass(frozen=True)
class DirectionErrors:
    """Errors of the energy's slopes on b frames of one shape.

    Attributes:
        frames: (b,) index of each frame.
        values: (K, b, M) force components or projections in eV/Å, then stress components times ``STRESS_SCALE`` in eV.
        weights: (b, M) weight of each squared error, 0 where there is no label.
        n_moves: number of the M directions that are displacements.
    """

    frames: Tensor
    values: Tensor
    weights: Tensor
    n_moves: int


@dataclass(frozen=True)
class Errors:
    """Prediction minus label, for K members on B frames.

    Attributes:
        energies: (K, B) eV per atom.
        energy_weights: (B,) weight of each squared error, 0 where there is no label.
        directions: errors of forces and stress, each frame in one of the entries.
    """

    energies: Tensor
    energy_weights: Tensor
    directions: Sequence[DirectionErrors]

    def of_mean(self) -> "Errors":
        """Return the errors of the committee's mean, as those of one member."""
        directions = [
            DirectionErrors(d.frames, d.values.mean(0, keepdim=True), d.weights, d.n_moves) for d in self.directions
        ]
        return Errors(self.energies.mean(0, keepdim=True), self.energy_weights, directions)


def member_losses(errors: Errors, settings: TrainingSettings) -> Tensor:
    """Return the weighted loss of each member on each frame, (K, B)."""
    threshold = settings.huber_threshold_eV_per_A
    losses = errors.energy_weights * penalty(errors.energies, settings, ENERGY_SHARE * threshold)
    for direction in errors.directions:
        terms = (direction.weights * penalty(direction.values, settings, threshold)).sum(-1)
        losses = losses.index_add(1, direction.frames, terms)
    return losses


def penalty(errors: Tensor, settings: TrainingSettings, threshold: float) -> Tensor:
    """Return the square, or for Huber's loss the square up to the threshold and its tangent above."""
    squares = errors.square()
    if settings.loss != "huber":
        return squares
    return torch.where(errors.abs() <= threshold, squares, threshold * (2 * errors.abs() - threshold))


def likelihood_losses(errors: Errors, settings: TrainingSettings) -> Tensor:
    """Return the loss of each frame (K, B) with a Gaussian negative log-likelihood of the forces of the committee.

    Each force component is normal around the committee's mean with the members' variance plus a floor, the loss of
    "How to train a shallow ensemble" (Schäfer et al., arXiv:2602.15747). Scaled by twice the floor squared it equals
    the squared error of the mean where the members agree, so that the weights keep their meaning. All members share
    the loss of the forces; those of energies and stress are the squares of each member's errors.
    """
    losses = errors.energy_weights * errors.energies.square()
    for direction in errors.directions:
        split = direction.n_moves
        terms = (direction.weights[:, split:] * direction.values[..., split:].square()).sum(-1)
        if split:
            nll = _scaled_likelihood(direction.values[..., :split], settings.likelihood_floor_eV_per_A**2)
            terms = terms + (direction.weights[:, :split] * nll).sum(-1)
        losses = losses.index_add(1, direction.frames, terms)
    return losses


def _scaled_likelihood(forces: Tensor, floor: float) -> Tensor:
    """Return 2 × floor (eV²/Å²) × the negative log-likelihood of errors (K, b, M), up to a constant: (b, M)."""
    variance = forces.var(0) + floor
    return floor * (forces.mean(0).square() / variance + torch.log(variance / floor))


def errors_of_frame(
    index: int, forces: Tensor | None, stress: Tensor | None, settings: TrainingSettings
) -> list[DirectionErrors]:
    """Wrap the errors of one frame of n atoms: forces (K, n, 3) in eV/Å, stress (K, 6) in eV/Å³, None without label."""
    moves = forces.flatten(1) if forces is not None else None
    parts = [part for part in (moves, None if stress is None else STRESS_SCALE * stress) if part is not None]
    if not parts:
        return []
    values = torch.cat(parts, dim=1).unsqueeze(1)
    n_moves = 0 if moves is None else moves.shape[1]
    weights = torch.full_like(values[0], settings.stress_weight / 6)
    weights[:, :n_moves] = settings.forces_weight / max(n_moves, 1)
    return [DirectionErrors(torch.tensor([index], device=values.device), values, weights, n_moves)]
