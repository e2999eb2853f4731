"""Low-rank changes of the matrices of a network, equivariant ones included."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


@dataclass(frozen=True)
class Matrix:
    """A stack of matrices within a flattened weight: ``shape`` (..., rows, columns) from position ``start``."""

    start: int
    shape: tuple[int, ...]

    @property
    def stop(self) -> int:
        """Position behind the last element."""
        return self.start + prod(self.shape)


class LowRankChange(nn.Module):
    """W + U V for every matrix of a weight; U is zero at first, V is random.

    The matrices of an equivariant linear layer mix the channels of one irrep with those of an equal one, so that any
    change of them is equivariant.
    """

    def __init__(self, weight: Tensor, matrices: list[Matrix], rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self._matrices = matrices
        left, right = [], []
        for matrix in matrices:
            *stack, rows, columns = matrix.shape
            inner = min(rank, rows, columns)
            left.append(torch.zeros(*stack, rows, inner))
            right.append(torch.randn(*stack, inner, columns, generator=generator) / columns**0.5)
        self.left = nn.ParameterList([value.to(weight) for value in left])
        self.right = nn.ParameterList([value.to(weight) for value in right])

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed weight."""
        flat = weight.flatten()
        parts, end = [], 0
        for matrix, left, right in zip(self._matrices, self.left, self.right, strict=True):
            parts += [flat[end : matrix.start], flat[matrix.start : matrix.stop] + (left @ right).flatten()]
            end = matrix.stop
        return torch.cat([*parts, flat[end:]]).view_as(weight)


def add_low_rank_changes(module: nn.Module, rank: int, generator: torch.Generator) -> list[nn.Module]:
    """Make every matrix of a frozen module changeable; return the modules whose weights are parametrised."""
    module.requires_grad_(False)
    changed = []
    for layer in list(module.modules()):
        for name, weight in list(layer.named_parameters(recurse=False)):
            matrices = matrices_of(layer, name, weight)
            if matrices:
                change = LowRankChange(weight, matrices, rank, generator)
                parametrize.register_parametrization(layer, name, change)
                changed.append(layer)
    return changed


def merge_low_rank_changes(layers: list[nn.Module]) -> None:
    """Replace the parametrised weights by their values."""
    for layer in layers:
        for name in list(layer.parametrizations):  # type: ignore[arg-type]
            parametrize.remove_parametrizations(layer, name, leave_parametrized=True)


def matrices_of(layer: nn.Module, name: str, weight: Tensor) -> list[Matrix]:
    """Return the matrices that a parameter holds; none for biases, norms and embeddings.

    e3nn keeps the matrices of all irreps of a layer in one flat weight, in the order of ``instructions``.
    """
    if isinstance(layer, nn.Embedding) or name not in {"weight", "weights"}:
        return []
    instructions = getattr(layer, "instructions", None)
    if weight.ndim == 1 and instructions is not None:
        return _flat_matrices(instructions, weight)
    return [Matrix(0, tuple(weight.shape))] if weight.ndim > 1 else []


def _flat_matrices(instructions: object, weight: Tensor) -> list[Matrix]:
    matrices, start = [], 0
    for instruction in instructions:  # type: ignore[attr-defined]
        if not getattr(instruction, "has_weight", True):
            continue
        *inputs, outputs = instruction.path_shape
        matrices.append(Matrix(start, (prod(inputs), outputs)))
        start = matrices[-1].stop
    return matrices if start == weight.numel() else []
