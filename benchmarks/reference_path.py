"""Training losses by evaluation through the foundation, the reference for the dense fit.

Nothing is cached and nothing is written out by hand: forces and stress of every member are derivatives that autograd
takes, and stay differentiable with respect to the heads. It costs a backward pass and its derivative per member, frame
and epoch, and exists to check the dense fit and to be compared with.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from committee.backbones.contract import Backbone, Evaluation
from committee.model.heads import ResidualHeads
from committee.model.latent import LatentMetric, switching_function
from committee.model.reference_shifts import ReferenceShifts
from committee.model.tangents import VOIGT
from committee.settings import CommitteeSettings, TrainingSettings
from committee.training.fitting import training_loss
from committee.training.losses import Errors, errors_of_frame
from committee.training.training_frame import TrainingFrame


def accumulate_gradients(
    backbone: Backbone,
    heads: ResidualHeads,
    metric: LatentMetric,
    shifts: ReferenceShifts,
    frames: Sequence[TrainingFrame],
    weights: Tensor,
    committee: CommitteeSettings,
    training: TrainingSettings,
    *,
    batch_frames: int = 8,
    likelihood: bool = False,
) -> float:
    """Add the gradient of the training loss to the heads' parameters, in batches that share one backbone pass.

    Args:
        backbone: the foundation.
        heads: in the foundation's precision, centred.
        metric: latent distance, in the same precision.
        shifts: reference shifts ε.
        frames: B labelled frames.
        weights: (K, B) bootstrap weights.
        committee: where the correction is switched off.
        training: the loss.
        batch_frames: frames that are evaluated together.
        likelihood: of the forces, instead of squared or Huber's loss.

    Returns:
        the loss.
    """
    total = 0.0
    for start in range(0, len(frames), batch_frames):
        batch = frames[start : start + batch_frames]
        errors = reference_errors(backbone, heads, metric, shifts, batch, committee, training)
        share = len(batch) / len(frames)
        mine = weights[:, start : start + batch_frames].to(errors.energies)
        loss = share * training_loss(errors, mine, training, likelihood=likelihood)
        loss.backward()
        total += float(loss.detach())
    return total


def reference_errors(
    backbone: Backbone,
    heads: ResidualHeads,
    metric: LatentMetric,
    shifts: ReferenceShifts,
    frames: Sequence[TrainingFrame],
    committee: CommitteeSettings,
    training: TrainingSettings,
) -> Errors:
    """Every member's errors on B frames from one evaluation of the foundation, differentiable in the heads."""
    evaluation = backbone.evaluate([frame.atoms for frame in frames])
    foundation_forces, foundation_stress = (part.detach() for part in evaluation.foundation(retain_graph=True))
    corrections = _member_energies(evaluation, heads, metric, committee)
    forces, stress = _member_derivatives(evaluation, corrections)
    forces, stress = foundation_forces + forces, foundation_stress + stress
    sizes = [len(frame.atoms) for frame in frames]
    directions = []
    for b, (frame, mine) in enumerate(zip(frames, forces.split(sizes, dim=1), strict=True)):
        directions += errors_of_frame(b, _force_errors(mine, frame), _stress_errors(stress[:, b], frame), training)
    missing = torch.tensor(
        [
            frame.energy_above(shifts) - float(energy)
            for frame, energy in zip(frames, evaluation.energy.detach(), strict=True)
        ],
        dtype=corrections.dtype,
    )
    energies = (corrections - missing.nan_to_num()) / torch.tensor(sizes)
    return Errors(energies, training.energy_weight * torch.isfinite(missing).to(energies), directions)


def _member_energies(
    evaluation: Evaluation, heads: ResidualHeads, metric: LatentMetric, committee: CommitteeSettings
) -> Tensor:
    """Switched correction of each member for each frame, (K, B) eV."""
    features, numbers = evaluation.features, evaluation.atomic_numbers
    values = heads(features, heads.rows(numbers))[0]
    values = values * switching_function(metric(features, numbers), committee.switch_start, committee.switch_end)
    sums: Tensor = values.new_zeros(len(values), evaluation.n_frames).index_add(1, evaluation.frame_index, values)
    return sums


def _member_derivatives(evaluation: Evaluation, energies: Tensor) -> tuple[Tensor, Tensor]:
    """Forces (K, N, 3) and stress (K, B, 3, 3) of energies (K, B), still part of the graph.

    Frames without a volume get a stress without meaning rather than NaN, which would spoil every gradient.
    """
    pulled = [
        torch.autograd.grad(
            energy.sum(), (evaluation.positions, evaluation.strain), create_graph=True, materialize_grads=True
        )
        for energy in energies
    ]
    forces = torch.stack([-positions for positions, _ in pulled])
    volumes = evaluation.volumes.nan_to_num(nan=1.0)
    return forces, torch.stack([strain for _, strain in pulled]) / volumes[:, None, None]


def _force_errors(forces: Tensor, frame: TrainingFrame) -> Tensor | None:
    if frame.forces_eV_per_A is None:
        return None
    return forces - torch.as_tensor(frame.forces_eV_per_A, dtype=forces.dtype)


def _stress_errors(stress: Tensor, frame: TrainingFrame) -> Tensor | None:
    """(K, 6), or None without a label or without a stress to compare with it."""
    if frame.stress_eV_per_A3 is None or not bool(torch.isfinite(stress).all()):
        return None
    symmetric = (stress + stress.transpose(1, 2)) / 2
    rows, columns = zip(*VOIGT, strict=True)
    return symmetric[:, list(rows), list(columns)] - torch.as_tensor(frame.stress_eV_per_A3, dtype=stress.dtype)
