"""The loss of a network with trainable weights on labelled and replayed frames."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray
from torch import Tensor

from committee.backbones.contract import Backbone, Evaluation
from committee.model.reference_shifts import ReferenceShifts
from committee.model.tangents import VOIGT
from committee.prediction import split_by_atoms
from committee.settings import AdaptSettings, TrainingSettings
from committee.training.losses import DirectionErrors, Errors, errors_of_frame, member_losses
from committee.training.training_frame import TrainingFrame

Array = NDArray[np.float64]
BATCH_ATOMS = 64
LARGE_FORCE = 0.5  # eV/Å, root mean square of a component


@dataclass(frozen=True)
class Target:
    """What the network should predict for a frame of n atoms.

    Attributes:
        atoms: the structure.
        energy_eV: total energy on the foundation's zero; NaN if there is none.
        forces: (n, 3) eV/Å, or None.
        stress: (6,) eV/Å³, or None.
    """

    atoms: Atoms
    energy_eV: float
    forces: Array | None
    stress: Array | None

    @property
    def tolerance(self) -> float:
        """The weight of a replayed frame: with forces far above those of the labels a change matters less."""
        return 1.0 if self.forces is None else 1.0 / (1.0 + float(np.square(self.forces).mean()) / LARGE_FORCE**2)

    @classmethod
    def of(cls, frame: TrainingFrame, shifts: ReferenceShifts) -> "Target":
        """Return the label of a frame above its reference shifts."""
        return cls(frame.atoms, frame.energy_above(shifts), frame.forces_eV_per_A, frame.stress_eV_per_A3)


@dataclass(frozen=True)
class AdaptationData:
    """Targets of an adaptation.

    Attributes:
        labelled: fitted frames.
        groups: the trajectory of each.
        replayed: frames with the foundation's own predictions.
        held_out: labelled frames of other trajectories, for early stopping.
    """

    labelled: list[Target]
    groups: list[str]
    replayed: list[Target]
    held_out: list[Target]


def replayed_frames(labelled: int, settings: AdaptSettings) -> int:
    """Return the number of replayed frames for a number of labelled ones."""
    if settings.replay_weight == 0:
        return 0
    return math.ceil(labelled * settings.replay_share / (1 - settings.replay_share))


def foundation_targets(backbone: Backbone, frames: Sequence[Atoms]) -> list[Target]:
    """Return the backbone's own predictions of frames."""
    targets: list[Target] = []
    for batch in split_by_atoms(frames, BATCH_ATOMS):
        evaluation = backbone.evaluate(batch)
        forces, stress = evaluation.foundation()
        ends = np.cumsum([len(atoms) for atoms in batch])
        parts = np.split(_array(forces), ends[:-1])
        for b, (atoms, part) in enumerate(zip(batch, parts, strict=True)):
            voigt = full_3x3_to_voigt_6_stress(_array(stress[b])) if bool(evaluation.volumes[b].isfinite()) else None
            targets.append(Target(atoms, float(evaluation.energy[b].detach()), part, voigt))
    return targets


def losses(backbone: Backbone, targets: Sequence[Target], settings: TrainingSettings, *, train: bool) -> Tensor:
    """Return the loss of each frame, (B,), with the weights and masks of the heads' fit.

    ``train`` keeps the graph, so that the loss can be differentiated with respect to the weights.
    """
    return member_losses(errors(backbone, targets, settings, train=train), settings)[0]


def errors(backbone: Backbone, targets: Sequence[Target], settings: TrainingSettings, *, train: bool) -> Errors:
    """Return prediction minus target of B frames, as those of one member, with the weights of the heads' fit."""
    evaluation = backbone.evaluate([target.atoms for target in targets])
    forces, stress = evaluation.derivatives(evaluation.energy.sum(), create_graph=train)
    sizes = torch.bincount(evaluation.frame_index, minlength=len(targets))
    directions = []
    for b, (target, part) in enumerate(zip(targets, forces.split(sizes.tolist()), strict=True)):
        directions += errors_of_frame(
            b,
            None if target.forces is None else (part - _like(part, target.forces))[None],
            None if target.stress is None else _voigt_errors(stress[b], target.stress)[None],
            settings,
        )
    return _with_energies(evaluation, targets, sizes, directions, settings)


def held_out_loss(backbone: Backbone, data: AdaptationData, settings: TrainingSettings) -> float:
    """Return the mean loss of the held-out frames."""
    total, start = 0.0, 0
    for part in split_by_atoms([target.atoms for target in data.held_out], BATCH_ATOMS):
        chosen = data.held_out[start : start + len(part)]
        total += float(losses(backbone, chosen, settings, train=False).detach().sum())
        start += len(part)
    return total / len(data.held_out)


def _with_energies(
    evaluation: Evaluation,
    targets: Sequence[Target],
    sizes: Tensor,
    directions: list[DirectionErrors],
    settings: TrainingSettings,
) -> Errors:
    """Add the errors of the energies; totals are subtracted in float64, since they may reach 1e5 eV."""
    labels = torch.tensor([target.energy_eV for target in targets], dtype=torch.float64, device=sizes.device)
    known = torch.isfinite(labels)
    errors = torch.where(known, (evaluation.energy.double() - labels.nan_to_num()) / sizes, 0.0)
    dtype = evaluation.positions.dtype
    return Errors(errors.to(dtype)[None], settings.energy_weight * known.to(dtype), directions)


def _voigt_errors(stress: Tensor, label: Array) -> Tensor:
    """Return the error (6,) of a stress (3, 3)."""
    rows, columns = zip(*VOIGT, strict=True)
    symmetric = (stress + stress.T) / 2
    return symmetric[list(rows), list(columns)] - _like(stress, label)


def _like(tensor: Tensor, values: Array) -> Tensor:
    return torch.as_tensor(values, dtype=tensor.dtype, device=tensor.device)


def _array(tensor: Tensor) -> Array:
    return tensor.detach().cpu().numpy().astype(np.float64)
