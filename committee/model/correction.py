"""The committee's switched correction and its deviations, common to all modes of prediction."""

from dataclasses import dataclass

import torch
from torch import Tensor

from committee.backbones.contract import Evaluation
from committee.model.heads import ResidualHeads
from committee.model.latent import LatentMetric, switching_function
from committee.settings import CommitteeSettings


@dataclass(frozen=True)
class Correction:
    """The committee's correction of one evaluation of N atoms in B frames.

    Attributes:
        mean: (B,) switched mean correction, eV, part of the graph.
        deviations: (K, B) member minus mean, both before switching, eV; sums to zero over the members.
        deviation_slopes: (K, N, D) derivative of the deviations with respect to the features.
        distance: (N,) latent distance, None before the first training.
    """

    mean: Tensor
    deviations: Tensor
    deviation_slopes: Tensor
    distance: Tensor | None


def correct(
    evaluation: Evaluation, heads: ResidualHeads, metric: LatentMetric | None, settings: CommitteeSettings
) -> Correction:
    """Evaluate the heads; priors cancel in the mean and contribute to the deviations."""
    features, rows = evaluation.features, heads.rows(evaluation.atomic_numbers)
    mean = heads.mean_value(features, rows)
    distance = None
    if metric is not None:
        distance = metric(features, evaluation.atomic_numbers)
        mean = mean * switching_function(distance, settings.switch_start, settings.switch_end)
    with torch.no_grad():
        values, slopes = heads(features, rows)
        deviations = values - values.mean(0)
    return Correction(
        mean=_per_frame(mean[None], evaluation)[0],
        deviations=_per_frame(deviations, evaluation),
        deviation_slopes=slopes - slopes.mean(0),
        distance=distance,
    )


def pull_back(evaluation: Evaluation, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Return forces (M, N, 3) and stress (M, B, 3, 3) of M energies, given their slopes in the features (M, N, D).

    One vector-Jacobian product each: batching them through a message-passing network is no faster on a CPU and
    needs M times the memory.
    """
    pulled = [
        torch.autograd.grad(
            evaluation.features,
            (evaluation.positions, evaluation.strain),
            slope,
            retain_graph=True,
            materialize_grads=True,
        )
        for slope in slopes
    ]
    forces = torch.stack([-positions for positions, _ in pulled])
    stress = torch.stack([strain for _, strain in pulled]) / evaluation.volumes[:, None, None]
    return forces, stress


def _per_frame(values: Tensor, evaluation: Evaluation) -> Tensor:
    """Sum (K, N) per-atom values over the atoms of each frame, (K, B)."""
    sums = values.new_zeros(len(values), evaluation.n_frames)
    return sums.index_add(1, evaluation.frame_index, values)
