"""The training set as tensors: everything a fit needs, and nothing of the foundation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from committee.fade import fade
from committee.heads import ResidualHeads
from committee.latent import LatentMetric
from committee.settings import CommitteeSettings, TrainingSettings
from committee.tangents import Tangents

STRESS_SCALE = 20.0  # Å³; stress costs forces: a scale of 100 raised their error by half and mended stress no further


@dataclass(frozen=True)
class Target:
    """What the committee must add to the foundation for one frame; NaN where there is no label.

    Attributes:
        energy_eV: label minus foundation minus reference shifts.
        slopes: (M,) derivative of the missing energy along the frame's M directions.
        slope_weights: (M,) weight of each squared slope error.
    """

    energy_eV: float
    slopes: np.ndarray[tuple[int], np.dtype[np.float64]]
    slope_weights: np.ndarray[tuple[int], np.dtype[np.float64]]

    @classmethod
    def of(
        cls,
        seen: Tangents,
        energy_eV: float,
        forces: np.ndarray[tuple[int, int], np.dtype[np.float64]] | None,
        stress: np.ndarray[tuple[int], np.dtype[np.float64]] | None,
        settings: TrainingSettings,
    ) -> "Target":
        """Express a label's forces and stress as slopes of the energy: -F along positions, V σ along strains.

        A stress that the foundation has none of (a closed one may not) cannot be corrected and gets no weight.
        """
        n_moves = seen.forces.size
        slopes = np.full(len(seen.tangents), np.nan)
        weights = np.zeros(len(seen.tangents))
        if forces is not None:
            slopes[:n_moves] = (seen.forces - forces).ravel()
            weights[:n_moves] = settings.forces_weight / n_moves
        if stress is not None and len(slopes) > n_moves and np.isfinite(seen.stress).all():
            slopes[n_moves:] = float(seen.volume) * (stress - seen.stress)
            weights[n_moves:] = settings.stress_weight * (STRESS_SCALE / float(seen.volume)) ** 2 / 6
        return cls(energy_eV, slopes, weights)


@dataclass(frozen=True)
class Block:
    """B frames of one shape (n atoms, M directions).

    Attributes:
        frames: (B,) index of each frame.
        atoms: (B n,) index of each atom.
        tangents: (B, M, n D) derivative of the features along each direction.
        fade_slopes: (B, M, n) derivative of the fade along each direction, or None where it is zero throughout.
        slopes: (B, M) target, 0 where there is none.
        slope_weights: (B, M), 0 where there is no target.
    """

    frames: Tensor
    atoms: Tensor
    tangents: Tensor
    fade_slopes: Tensor | None
    slopes: Tensor
    slope_weights: Tensor


@dataclass(frozen=True)
class DenseData:
    """B frames with N atoms.

    Attributes:
        features: (N, D).
        rows: (N,) element rows.
        frame_index: (N,).
        fades: (N,) factor of each atom's correction.
        energies: (B,) target, eV, 0 where there is none.
        energy_weights: (B,) weight of the squared energy error, already divided by n².
        blocks: the frames again, grouped by shape.
    """

    features: Tensor
    rows: Tensor
    frame_index: Tensor
    fades: Tensor
    energies: Tensor
    energy_weights: Tensor
    blocks: tuple[Block, ...]

    def mean_energies(self, heads: ResidualHeads) -> Tensor:
        """Faded mean correction of each frame, (B,) eV."""
        with torch.no_grad():
            values = heads.mean_value(self.features, self.rows) * self.fades
            return torch.zeros_like(self.energies).index_add(0, self.frame_index, values)

    def member_losses(self, heads: ResidualHeads) -> Tensor:
        """Weighted squared error of each member on each frame, (K, B); centring is part of the prediction."""
        values, slopes = heads(self.features, self.rows)
        energies = values.new_zeros(len(values), len(self.energies)).index_add(1, self.frame_index, values * self.fades)
        losses: Tensor = self.energy_weights * (energies - self.energies).square()
        faded = slopes * self.fades[:, None]
        for block in self.blocks:
            along = _along(block, faded, values)
            errors = (block.slope_weights * (along - block.slopes).square()).sum(-1)
            losses = losses.index_add(1, block.frames, errors)
        return losses


def _along(block: Block, faded_slopes: Tensor, values: Tensor) -> Tensor:
    """Derivative of each member's faded correction along each direction of the block, (K, B, M)."""
    n_frames, members = len(block.frames), len(values)
    slopes = faded_slopes[:, block.atoms].reshape(members, n_frames, -1).transpose(0, 1)
    along = torch.bmm(slopes, block.tangents.transpose(1, 2))
    if block.fade_slopes is not None:
        mine = values[:, block.atoms].reshape(members, n_frames, -1).transpose(0, 1)
        along = along + torch.bmm(mine, block.fade_slopes.transpose(1, 2))
    return along.transpose(0, 1)


def dense_data(
    seen: Sequence[Tangents],
    atomic_numbers: Sequence[np.ndarray[tuple[int], np.dtype[np.int64]]],
    targets: Sequence[Target],
    heads: ResidualHeads,
    metric: LatentMetric,
    committee: CommitteeSettings,
    training: TrainingSettings,
) -> DenseData:
    """Collect a training set: the fade is a fixed number here, since the latent distance is fitted before the heads."""
    features = torch.as_tensor(np.concatenate([entry.features for entry in seen]))
    numbers = torch.as_tensor(np.concatenate(list(atomic_numbers)))
    sizes = torch.tensor([len(entry.features) for entry in seen])
    leaf = features.double().requires_grad_()
    fades = fade(metric(leaf, numbers), committee.fade_onset, committee.fade_end)
    fade_gradients = torch.autograd.grad(fades.sum(), leaf)[0].float()
    energies = torch.tensor([target.energy_eV for target in targets], dtype=torch.float32)
    starts = torch.cumsum(sizes, 0) - sizes
    return DenseData(
        features=features,
        rows=heads.rows(numbers),
        frame_index=torch.repeat_interleave(torch.arange(len(seen)), sizes),
        fades=fades.detach().float(),
        energies=energies.nan_to_num(),
        energy_weights=training.energy_weight * torch.isfinite(energies) / sizes**2,
        blocks=tuple(_blocks(seen, targets, starts, fade_gradients)),
    )


def _blocks(seen: Sequence[Tangents], targets: Sequence[Target], starts: Tensor, fade_gradients: Tensor) -> list[Block]:
    shapes: dict[tuple[int, ...], list[int]] = {}
    for i, entry in enumerate(seen):
        shapes.setdefault(entry.tangents.shape, []).append(i)
    blocks = []
    for (directions, n_atoms, _), frames in shapes.items():
        index = torch.tensor(frames)
        atoms = (starts[index][:, None] + torch.arange(n_atoms)).flatten()
        tangents = torch.as_tensor(np.stack([seen[i].tangents for i in frames]))
        gradients = fade_gradients[atoms].reshape(len(frames), 1, n_atoms, -1)
        slopes = torch.as_tensor(np.stack([targets[i].slopes for i in frames]), dtype=torch.float32)
        weights = torch.as_tensor(np.stack([targets[i].slope_weights for i in frames]), dtype=torch.float32)
        blocks.append(
            Block(
                frames=index,
                atoms=atoms,
                tangents=tangents.reshape(len(frames), directions, -1),
                fade_slopes=(tangents * gradients).sum(-1) if bool(gradients.any()) else None,
                slopes=slopes.nan_to_num(),
                slope_weights=weights,
            )
        )
    return blocks
