"""The weights of a foundation that an adaptation trains."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from committee.adaptation.low_rank import add_low_rank_changes, merge_low_rank_changes
from committee.backbones.contract import OpenBackbone
from committee.settings import AdaptSettings
from committee.training.training_state import Tensors


@dataclass
class Best:
    """The weights with the lowest loss on the held-out frames."""

    score: float = math.inf
    epoch: int = 0
    weights: Tensors = field(default_factory=dict)


class TrainableWeights:
    """A trainable copy of a foundation, of which the method's weights require gradients.

    Attributes:
        backbone: the copy; its evaluation depends on the weights.
        names: names of the trained parameters.
        parameters: the trained parameters.
    """

    def __init__(self, foundation: OpenBackbone, settings: AdaptSettings, seed: int) -> None:
        self._foundation = foundation
        self.backbone = foundation.trainable()
        module = self.backbone.module
        self._parametrised: list[nn.Module] = []
        if settings.method == "low_rank":
            generator = torch.Generator().manual_seed(seed)
            self._parametrised = add_low_rank_changes(module, settings.rank, generator)
        elif settings.method == "last_blocks":
            chosen = {name for block in foundation.weight_blocks[-settings.last_blocks - 1 :] for name in block}
            for name, weight in module.named_parameters():
                weight.requires_grad_(weight.requires_grad and name in chosen)
        trained = [(name, weight) for name, weight in module.named_parameters() if weight.requires_grad]
        self.names = [name for name, _ in trained]
        self.parameters = [weight for _, weight in trained]
        self._start = [weight.detach().clone() for weight in self.parameters]

    def copy(self) -> Tensors:
        """Return the present values of the trained parameters, on the CPU."""
        return {name: weight.detach().cpu().clone() for name, weight in zip(self.names, self.parameters, strict=True)}

    @torch.no_grad()
    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Set the trained parameters."""
        for name, weight in zip(self.names, self.parameters, strict=True):
            weight.copy_(values[name])

    @torch.no_grad()
    def pull(self, share: float) -> None:
        """Move every trained parameter back to its start by a share of the distance."""
        for start, weight in zip(self._start, self.parameters, strict=True):
            weight.lerp_(start, min(share, 1.0))

    def flat(self) -> Tensor:
        """Return the present values of all trained parameters in one vector."""
        return torch.cat([weight.detach().flatten() for weight in self.parameters])

    @torch.no_grad()
    def set_flat(self, values: Tensor) -> None:
        """Set all trained parameters from one vector."""
        for weight, part in zip(self.parameters, values.split([w.numel() for w in self.parameters]), strict=True):
            weight.copy_(part.view_as(weight))

    @property
    def start(self) -> Tensor:
        """The foundation's values, in one vector."""
        return torch.cat([weight.flatten() for weight in self._start])

    @property
    def scales(self) -> Tensor:
        """The root mean square of each parameter's tensor in the foundation, in one vector."""
        sizes = torch.stack([weight.square().mean().sqrt() for weight in self._start])
        sizes = torch.where(sizes > 0, sizes, sizes.mean())
        return torch.cat([size.expand(weight.numel()) for size, weight in zip(sizes, self._start, strict=True)])

    def changed(self) -> Mapping[str, Tensor]:
        """Return the weights of the foundation's module; this object cannot be trained any more."""
        merge_low_rank_changes(self._parametrised)
        names = [name for name, _ in self._foundation.module.named_parameters()]
        present = dict(self.backbone.module.named_parameters())
        return {name: present[name] for name in names}
