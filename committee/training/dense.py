"""The training set as tensors: all inputs of a fit, which does not evaluate the foundation."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from committee.model.directions import STRESS_SCALE, RandomDirections, orthonormal
from committee.model.heads import ResidualHeads
from committee.model.latent import LatentMetric, switching_function
from committee.model.tangents import Tangents
from committee.settings import CommitteeSettings, TrainingSettings
from committee.training.losses import DirectionErrors, Errors

Array = NDArray[np.float64]
_Data = TypeVar("_Data", "Block", "DenseData")


@dataclass(frozen=True)
class Target:
    """The correction that the committee must add to the foundation for one frame; 0 without a label.

    Attributes:
        energy_eV: label minus foundation minus reference shifts; NaN without a label.
        tangents: (M, n, D) derivative of the features along the directions whose errors are compared: displacements
            first, strains in units that make a slope a stress times ``STRESS_SCALE``; or combinations of both.
        slopes: (M,) derivative of the energy correction along them.
        weights: (M,) weight of each squared error of a slope, 0 without a label.
        n_moves: number of displacements; M for combinations, whose squared errors only have a meaning.
    """

    energy_eV: float
    tangents: NDArray[np.float32]
    slopes: Array
    weights: Array
    n_moves: int

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
        n_atoms, volume_A3 = len(tangents.features), float(tangents.volume)
        label = RandomDirections(forces, stress, settings.forces_weight, settings.stress_weight, int(tangents.n_random))
        slopes = -label.errors(tangents.forces, tangents.stress, volume_A3)
        scales = label.scales(n_atoms, tangents.stress, volume_A3)
        if not tangents.is_exact:
            combinations, weights = orthonormal(tangents.directions, scales, label.count)
            along = np.tensordot(combinations.astype(np.float32), tangents.tangents, 1)
            return cls(energy_eV, along, combinations @ tangents.directions @ slopes, weights, len(weights))
        units = np.ones(len(tangents.tangents))
        units[3 * n_atoms :] = STRESS_SCALE / volume_A3
        compared = slice(len(units))
        scaled = tangents.tangents * units.astype(np.float32)[:, None, None]
        return cls(energy_eV, scaled, slopes[compared] * units, (scales[compared] / units) ** 2, 3 * n_atoms)


@dataclass(frozen=True)
class Block:
    """B frames of one shape (n atoms, M directions, displacements first).

    Attributes:
        frames: (B,) index of each frame.
        atoms: (B n,) index of each atom.
        tangents: (B, M, n D) scaled derivative of the features along each direction.
        switch_slopes: (B, M, n) scaled derivative of the switching function along each, or None where all are zero.
        slopes: (B, M) target, 0 without a label.
        weights: (B, M), 0 without a label.
        n_moves: number of displacements.
    """

    frames: Tensor
    atoms: Tensor
    tangents: Tensor
    switch_slopes: Tensor | None
    slopes: Tensor
    weights: Tensor
    n_moves: int

    def to(self, device: torch.device) -> "Block":
        """Return the block with its tensors on a device."""
        return _moved(self, device)


@dataclass(frozen=True)
class DenseData:
    """B frames with N atoms.

    Attributes:
        features: (N, D).
        rows: (N,) element rows.
        frame_index: (N,).
        sizes: (B,) number of atoms.
        switches: (N,) switching function of each atom's correction.
        energies: (B,) target, eV, 0 without a label.
        energy_weights: (B,) weight of the squared error of the energy per atom.
        blocks: the frames again, grouped by shape.
    """

    features: Tensor
    rows: Tensor
    frame_index: Tensor
    sizes: Tensor
    switches: Tensor
    energies: Tensor
    energy_weights: Tensor
    blocks: tuple[Block, ...]

    def to(self, device: torch.device) -> "DenseData":
        """Return the data with all tensors on a device."""
        return replace(_moved(self, device), blocks=tuple(block.to(device) for block in self.blocks))

    def errors(self, heads: ResidualHeads) -> Errors:
        """Return each member's errors; the prediction includes centring."""
        values, slopes = heads(self.features, self.rows)
        energies = values.new_zeros(len(values), len(self.energies)).index_add(
            1, self.frame_index, values * self.switches
        )
        switched = slopes * self.switches[:, None]
        directions = [
            DirectionErrors(block.frames, _along(block, switched, values) - block.slopes, block.weights, block.n_moves)
            for block in self.blocks
        ]
        return Errors((energies - self.energies) / self.sizes, self.energy_weights, directions)


def _moved(data: _Data, device: torch.device) -> _Data:
    tensors: dict[str, Any] = {
        field.name: value.to(device) for field in fields(data) if isinstance(value := getattr(data, field.name), Tensor)
    }
    return replace(data, **tensors)


def _along(block: Block, switched_slopes: Tensor, values: Tensor) -> Tensor:
    """Return the derivative of each member's switched correction along each direction of the block, (K, B, M)."""
    n_frames, members = len(block.frames), len(values)
    slopes = switched_slopes[:, block.atoms].reshape(members, n_frames, -1).transpose(0, 1)
    along = torch.bmm(slopes, block.tangents.transpose(1, 2))
    if block.switch_slopes is not None:
        mine = values[:, block.atoms].reshape(members, n_frames, -1).transpose(0, 1)
        along = along + torch.bmm(mine, block.switch_slopes.transpose(1, 2))
    return along.transpose(0, 1)


def dense_data(
    features: Sequence[NDArray[np.float32]],
    atomic_numbers: Sequence[NDArray[np.int64]],
    targets: Sequence[Target],
    heads: ResidualHeads,
    metric: LatentMetric,
    committee: CommitteeSettings,
    training: TrainingSettings,
) -> DenseData:
    """Assemble the tensors; the switches are constants, since the latent distance is fitted before the heads."""
    numbers = torch.as_tensor(np.concatenate(list(atomic_numbers)))
    sizes = torch.tensor([len(of_frame) for of_frame in features])
    all_features = torch.as_tensor(np.concatenate(list(features)))
    leaf = all_features.double().requires_grad_()
    switches = switching_function(metric(leaf, numbers), committee.switch_start, committee.switch_end)
    switch_gradients = torch.autograd.grad(switches.sum(), leaf)[0].float()
    energies = torch.tensor([target.energy_eV for target in targets], dtype=torch.float32)
    starts = torch.cumsum(sizes, 0) - sizes
    return DenseData(
        features=all_features,
        rows=heads.rows(numbers.to(heads.row_of_element.device)).cpu(),
        frame_index=torch.repeat_interleave(torch.arange(len(features)), sizes),
        sizes=sizes,
        switches=switches.detach().float(),
        energies=energies.nan_to_num(),
        energy_weights=training.energy_weight * torch.isfinite(energies).float(),
        blocks=tuple(_blocks(targets, starts, switch_gradients)),
    )


def _blocks(targets: Sequence[Target], starts: Tensor, gradients: Tensor) -> list[Block]:
    shapes: dict[tuple[tuple[int, ...], int], list[int]] = {}
    for i, target in enumerate(targets):
        if len(target.weights):
            shapes.setdefault((target.tangents.shape, target.n_moves), []).append(i)
    blocks = []
    for ((directions, n_atoms, _), n_moves), frames in shapes.items():
        index = torch.tensor(frames)
        atoms = (starts[index][:, None] + torch.arange(n_atoms)).flatten()
        slopes, weights, tangents = (
            torch.as_tensor(np.stack([getattr(targets[i], name) for i in frames]), dtype=torch.float32)
            for name in ("slopes", "weights", "tangents")
        )
        switch_gradients = gradients[atoms].reshape(len(frames), 1, n_atoms, -1)
        blocks.append(
            Block(
                frames=index,
                atoms=atoms,
                tangents=tangents.reshape(len(frames), directions, -1),
                switch_slopes=(tangents * switch_gradients).sum(-1) if bool(switch_gradients.any()) else None,
                slopes=slopes,
                weights=weights,
                n_moves=n_moves,
            )
        )
    return blocks
