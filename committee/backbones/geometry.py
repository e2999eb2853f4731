"""Positions and strain as autograd leaves, and edge vectors as functions of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from torch import Tensor


@dataclass(frozen=True)
class Leaves:
    """The variables with respect to which the foundation's energy and features are differentiated.

    Positions (N, 3) in Å and strain (B, 3, 3), zero, are the leaves; atomic numbers and frame index are (N,), volumes
    (B,) in Å³ are NaN unless the frame is periodic in three directions.
    """

    positions: Tensor
    strain: Tensor
    atomic_numbers: Tensor
    frame_index: Tensor
    volumes: Tensor
    counts: list[int]

    @property
    def symmetric_strain(self) -> Tensor:
        """(B, 3, 3) symmetric part of the strain."""
        return 0.5 * (self.strain + self.strain.transpose(1, 2))


def make_leaves(frames: Sequence[Atoms], dtype: torch.dtype, device: torch.device) -> Leaves:
    """Copy a batch of frames into leaves; the frames are not modified."""
    counts = [len(atoms) for atoms in frames]
    positions = torch.tensor(np.concatenate([atoms.positions for atoms in frames]), dtype=dtype)
    volumes = [atoms.cell.volume if atoms.pbc.all() else np.nan for atoms in frames]
    numbers = np.concatenate([atoms.numbers for atoms in frames]).astype(np.int64)
    return Leaves(
        positions=positions.to(device).requires_grad_(True),
        strain=torch.zeros(len(frames), 3, 3, dtype=dtype, device=device, requires_grad=True),
        atomic_numbers=torch.from_numpy(numbers).to(device),
        frame_index=torch.from_numpy(np.repeat(np.arange(len(frames)), counts)).to(device),
        volumes=torch.tensor(volumes, dtype=dtype, device=device),
        counts=counts,
    )


def attach_edges(leaves: Leaves, source: Tensor, target: Tensor, vectors: Tensor) -> Tensor:
    """Make the edge vectors functions of the leaves without changing their values.

    The values were computed in float64 from the frames, as in the foundation's own calculator; recomputing them from
    float32 positions would lose digits. Positions minus their own detached values are exactly zero, so they add the
    derivative only.

    Args:
        leaves: leaves of the batch.
        source: (E,) index of the atom where an edge starts.
        target: (E,) index of the atom where it ends.
        vectors: (E, 3) from source to target, periodic images included, Å.

    Returns:
        (E, 3) strained edge vectors, (r + Δ)(1 + ε).
    """
    moved = leaves.positions - leaves.positions.detach()
    edges = vectors + (moved[target] - moved[source])
    strain = leaves.symmetric_strain[leaves.frame_index[source]]
    return edges + torch.bmm(edges.unsqueeze(1), strain).squeeze(1)


def keep_attached(values: Tensor, leaves: Leaves) -> Tensor:
    """Return values that depend on no leaf (an atom without neighbours) as a constant function of the leaves."""
    if values.requires_grad:
        return values
    return values + 0.0 * (leaves.positions.sum() + leaves.strain.sum())
