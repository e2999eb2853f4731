"""The training set as tensors: all inputs of a fit, which does not evaluate the foundation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from committee.model.heads import ResidualHeads
from committee.model.latent import LatentMetric, switching_function
from committee.model.tangents import Tangents
from committee.settings import CommitteeSettings, TrainingSettings
from committee.training.losses import STRESS_SCALE, DirectionErrors, Errors

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """The correction that the committee must add to the foundation for one frame; 0 without a label.

    Attributes:
        energy_eV: label minus foundation minus reference shifts; NaN without a label.
        slopes: (M,) derivative of the energy correction along the frame's directions, times ``scales``.
        scales: (M,) 1 for displacements; for strains the factor from a slope to a stress times ``STRESS_SCALE``.
        weights: (M,) weight of each squared error of a slope, 0 without a label.
    """

    energy_eV: float
    slopes: Array
    scales: Array
    weights: Array

    @classmethod
    def of(
        cls,
        tangents: Tangents,
        energy_eV: float,
        forces: Array | None,
        stress: Array | None,
        settings: TrainingSettings,
    ) -> "Target":
        """Express a label's forces and stress as slopes of the energy: -F along displacements, V σ along strains.

        Where the foundation has no stress (a closed one may not), the stress cannot be corrected and gets no weight.
        """
        n_moves, n_directions = tangents.n_moves, len(tangents.tangents)
        slopes, scales, weights = np.zeros(n_directions), np.ones(n_directions), np.zeros(n_directions)
        if forces is not None:
            residuals = tangents.forces - forces
            sketch = tangents.sketch
            slopes[:n_moves] = np.einsum("mnc,nc->m", sketch, residuals) if len(sketch) else residuals.ravel()
            # The sum of squares over m random directions is m times that over the components.
            weights[:n_moves] = settings.forces_weight / residuals.size / max(len(sketch), 1)
        if n_directions > n_moves:
            scales[n_moves:] = STRESS_SCALE / float(tangents.volume)
            if stress is not None and np.isfinite(tangents.stress).all():
                slopes[n_moves:] = STRESS_SCALE * (stress - tangents.stress)
                weights[n_moves:] = settings.stress_weight / 6
        return cls(energy_eV, slopes, scales, weights)


@dataclass(frozen=True)
class Block:
    """B frames of one shape (n atoms, M directions, displacements first).

    Attributes:
        frames: (B,) index of each frame.
        atoms: (B n,) index of each atom.
        tangents: (B, M, n D) scaled derivative of the features along each direction.
        fade_slopes: (B, M, n) scaled derivative of the fade along each direction, or None where all are zero.
        slopes: (B, M) target, 0 without a label.
        weights: (B, M), 0 without a label.
        n_moves: number of displacements.
    """

    frames: Tensor
    atoms: Tensor
    tangents: Tensor
    fade_slopes: Tensor | None
    slopes: Tensor
    weights: Tensor
    n_moves: int


@dataclass(frozen=True)
class DenseData:
    """B frames with N atoms.

    Attributes:
        features: (N, D).
        rows: (N,) element rows.
        frame_index: (N,).
        sizes: (B,) number of atoms.
        fades: (N,) factor of each atom's correction.
        energies: (B,) target, eV, 0 without a label.
        energy_weights: (B,) weight of the squared error of the energy per atom.
        blocks: the frames again, grouped by shape.
    """

    features: Tensor
    rows: Tensor
    frame_index: Tensor
    sizes: Tensor
    fades: Tensor
    energies: Tensor
    energy_weights: Tensor
    blocks: tuple[Block, ...]

    def errors(self, heads: ResidualHeads) -> Errors:
        """Return each member's errors; the prediction includes centring."""
        values, slopes = heads(self.features, self.rows)
        energies = values.new_zeros(len(values), len(self.energies)).index_add(1, self.frame_index, values * self.fades)
        faded = slopes * self.fades[:, None]
        directions = [
            DirectionErrors(block.frames, _along(block, faded, values) - block.slopes, block.weights, block.n_moves)
            for block in self.blocks
        ]
        return Errors((energies - self.energies) / self.sizes, self.energy_weights, directions)


def _along(block: Block, faded_slopes: Tensor, values: Tensor) -> Tensor:
    """Return the derivative of each member's faded correction along each direction of the block, (K, B, M)."""
    n_frames, members = len(block.frames), len(values)
    slopes = faded_slopes[:, block.atoms].reshape(members, n_frames, -1).transpose(0, 1)
    along = torch.bmm(slopes, block.tangents.transpose(1, 2))
    if block.fade_slopes is not None:
        mine = values[:, block.atoms].reshape(members, n_frames, -1).transpose(0, 1)
        along = along + torch.bmm(mine, block.fade_slopes.transpose(1, 2))
    return along.transpose(0, 1)


def dense_data(
    tangents: Sequence[Tangents],
    atomic_numbers: Sequence[NDArray[np.int64]],
    targets: Sequence[Target],
    heads: ResidualHeads,
    metric: LatentMetric,
    committee: CommitteeSettings,
    training: TrainingSettings,
) -> DenseData:
    """Assemble the tensors; the fades are constants, since the latent distance is fitted before the heads."""
    features = torch.as_tensor(np.concatenate([entry.features for entry in tangents]))
    numbers = torch.as_tensor(np.concatenate(list(atomic_numbers)))
    sizes = torch.tensor([len(entry.features) for entry in tangents])
    leaf = features.double().requires_grad_()
    fades = switching_function(metric(leaf, numbers), committee.switch_start, committee.switch_end)
    fade_gradients = torch.autograd.grad(fades.sum(), leaf)[0].float()
    energies = torch.tensor([target.energy_eV for target in targets], dtype=torch.float32)
    starts = torch.cumsum(sizes, 0) - sizes
    return DenseData(
        features=features,
        rows=heads.rows(numbers),
        frame_index=torch.repeat_interleave(torch.arange(len(tangents)), sizes),
        sizes=sizes,
        fades=fades.detach().float(),
        energies=energies.nan_to_num(),
        energy_weights=training.energy_weight * torch.isfinite(energies).float(),
        blocks=tuple(_blocks(tangents, targets, starts, fade_gradients)),
    )


def _blocks(entries: Sequence[Tangents], targets: Sequence[Target], starts: Tensor, gradients: Tensor) -> list[Block]:
    shapes: dict[tuple[tuple[int, ...], int], list[int]] = {}
    for i, entry in enumerate(entries):
        shapes.setdefault((entry.tangents.shape, entry.n_moves), []).append(i)
    blocks = []
    for ((directions, n_atoms, _), n_moves), frames in shapes.items():
        index = torch.tensor(frames)
        atoms = (starts[index][:, None] + torch.arange(n_atoms)).flatten()
        slopes, scales, weights = (
            torch.as_tensor(np.stack([getattr(targets[i], name) for i in frames]), dtype=torch.float32)
            for name in ("slopes", "scales", "weights")
        )
        tangents = torch.as_tensor(np.stack([entries[i].tangents for i in frames])) * scales[:, :, None, None]
        fade_gradients = gradients[atoms].reshape(len(frames), 1, n_atoms, -1)
        blocks.append(
            Block(
                frames=index,
                atoms=atoms,
                tangents=tangents.reshape(len(frames), directions, -1),
                fade_slopes=(tangents * fade_gradients).sum(-1) if bool(fade_gradients.any()) else None,
                slopes=slopes,
                weights=weights,
                n_moves=n_moves,
            )
        )
    return blocks
