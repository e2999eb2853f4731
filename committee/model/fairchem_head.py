"""A trained committee as an output head of fairchem.

A checkpoint from ``committee.export`` names ``committee.model.fairchem_head.CommitteeHead`` by its import path;
fairchem builds it, so that the file opens wherever this package is installed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from committee.model.heads import ResidualHeads
from committee.model.latent import LatentMetric, switching_function
from committee.settings import CommitteeSettings

IMPORT_PATH = "committee.model.fairchem_head.CommitteeHead"
ENERGY_BLOCK = "energy_block"


class CommitteeHead(nn.Module):
    """The foundation's own head, with the committee's switched mean added to the energy of each atom.

    The correction is added before the foundation's head sums over atoms, so that fairchem differentiates the sum: one
    backward pass gives forces and stress of both. Frames of other tasks are not corrected.

    Args:
        backbone: fairchem's backbone.
        foundation: config of the foundation's head: its ``module`` and arguments.
        task_name: the task that the committee was trained on.
        committee: the committee's settings.
        elements: atomic numbers of the rows of the heads.
        known_elements: atomic numbers of the latent distance; empty for an untrained committee.
        rmsd: the divisor of the task's energies inside the model.
    """

    use_amp = False

    def __init__(
        self,
        backbone: Any,
        foundation: Mapping[str, Any],
        task_name: str,
        committee: Mapping[str, Any],
        elements: Sequence[int],
        known_elements: Sequence[int],
        rmsd: float,
    ):
        super().__init__()
        from fairchem.core.common.registry import registry

        config = dict(foundation)
        self.foundation_head: nn.Module = registry.get_model_class(config.pop("module"))(backbone, **config)
        self.path_to_block = wrap_energy_block(self.foundation_head)
        self.task_name = task_name
        self.rmsd = float(rmsd)
        self.settings = CommitteeSettings.model_validate(dict(committee))
        self.heads = ResidualHeads(self.settings, backbone.sphere_channels, tuple(elements), seed=0)
        self.metric = _empty_metric(known_elements, backbone.sphere_channels)

    def forward(self, data: Any, emb: dict[str, Tensor]) -> dict[str, Any]:
        """Return the outputs of the foundation's head, corrected."""
        block = self.foundation_head.get_submodule(self.path_to_block)
        if not isinstance(block, CorrectedEnergy):
            raise TypeError(f"{self.path_to_block} is a {type(block).__name__}; expected the block wrapped here.")
        with torch.enable_grad():
            block.correction = self._correction(data, emb)
            try:
                outputs: dict[str, Any] = self.foundation_head(data, emb)
            finally:
                block.correction = None
        return outputs

    def prepare_for_inference(self, data: Any, settings: Any) -> "CommitteeHead":
        """Call the same method of the foundation's head, which merges its experts if it has any."""
        prepare = getattr(self.foundation_head, "prepare_for_inference", None)
        if prepare is not None:
            self.foundation_head = prepare(data, settings)
        return self

    def _correction(self, data: Any, emb: dict[str, Tensor]) -> Tensor:
        """Return the switched mean of each atom (N,), in units of the model; zero in frames of other tasks."""
        numbers = data["atomic_numbers"].long()
        features = emb["node_embedding"].narrow(1, 0, 1).squeeze(1)
        mean = self.heads.mean_value(features, self.heads.rows(numbers))
        if self.metric is not None:
            mean = mean * switching_function(
                self.metric(features, numbers), self.settings.switch_start, self.settings.switch_end
            )
        mine = torch.tensor([name == self.task_name for name in data["dataset"]], device=mean.device)
        return mean * mine[data["batch"]] / self.rmsd


class CorrectedEnergy(nn.Module):
    """The block that predicts atomic energies, plus a correction that is set before each pass."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.foundation_block = block
        self.correction: Tensor | None = None

    def forward(self, features: Tensor) -> Tensor:
        """Return atomic energies (N, 1)."""
        energies: Tensor = self.foundation_block(features)
        return energies if self.correction is None else energies + self.correction.view_as(energies)


def wrap_energy_block(head: nn.Module) -> str:
    """Wrap the head's energy block with the correction and return the block's path within the head.

    Raises:
        ValueError: the head does not have exactly one energy block.
    """
    found: list[str] = [name for name, _ in head.named_modules() if name.split(".")[-1] == ENERGY_BLOCK]
    if len(found) != 1:
        raise ValueError(f"{type(head).__name__} has {len(found)} energy blocks, expected one as in MLP_EFS_Head.")
    path = found[0]
    parent = head.get_submodule(path.rpartition(".")[0])
    setattr(parent, ENERGY_BLOCK, CorrectedEnergy(getattr(parent, ENERGY_BLOCK)))
    return path


def _empty_metric(elements: Sequence[int], features: int) -> LatentMetric | None:
    """Return a latent distance of the right shape, whose values the checkpoint provides."""
    if not elements:
        return None
    means, whiteners = np.zeros((len(elements), features)), np.zeros((len(elements), features, features))
    return LatentMetric(elements, means, whiteners, torch.get_default_dtype())
