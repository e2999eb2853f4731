"""The shipped check must fail for backbones that violate the contract, with the right message."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms

from committee.backbones.contract import Backbone, Evaluation
from committee.backbones.geometry import make_leaves
from committee.structures import check_structures
from committee.testing import BackboneCheckError, check_backbone

Change = Callable[[Sequence[Atoms], Evaluation], Evaluation]


class PairBackbone:
    """A smooth pair potential between images, summed over shells of cells: slow, exact, short."""

    name = "test:pairs"
    fingerprint = "0" * 64
    elements = frozenset({1, 6, 8, 11, 13, 17})
    cutoff_A = 3.0
    feature_size = 2
    level_of_theory = "Gaussians"

    def __init__(self, dtype: torch.dtype = torch.float32, change: Change = lambda _, evaluation: evaluation) -> None:
        self.dtype = dtype
        self.change = change

    def to(self, dtype: torch.dtype) -> "PairBackbone":
        return PairBackbone(dtype, self.change)

    def evaluate(self, frames: Sequence[Atoms]) -> Evaluation:
        check_structures(frames, self.elements)
        leaves = make_leaves(frames, self.dtype, torch.device("cpu"))
        strain = leaves.symmetric_strain
        features = []
        for index, atoms in enumerate(frames):
            rows = leaves.frame_index == index
            moved = leaves.positions[rows] @ (torch.eye(3, dtype=self.dtype) + strain[index])
            grid = np.stack(np.meshgrid(*[np.arange(-3, 4) if p else [0] for p in atoms.pbc]), -1).reshape(-1, 3)
            cell = torch.tensor(atoms.cell.array, dtype=self.dtype) @ (torch.eye(3, dtype=self.dtype) + strain[index])
            images = torch.tensor(grid, dtype=self.dtype) @ cell
            vectors = moved[None, :, None] - moved[None, None] + images[:, None, None]
            squared = vectors.square().sum(-1)
            weights = torch.tensor(atoms.numbers, dtype=self.dtype) / 8
            near = torch.exp(-squared / 2) * weights
            features.append(torch.stack([near.sum((0, 2)), (near * squared).sum((0, 2))], dim=1))
        h = torch.cat(features)
        energy = torch.stack([f.square().sum() for f in h.split(leaves.counts)])
        evaluation = Evaluation(
            leaves.positions, leaves.strain, energy, h, leaves.atomic_numbers, leaves.frame_index, leaves.volumes
        )
        return self.change(frames, evaluation)


def _add_to_energy(extra: Callable[[Atoms, torch.Tensor], torch.Tensor]) -> Change:
    def change(frames: Sequence[Atoms], evaluation: Evaluation) -> Evaluation:
        parts = [extra(atoms, evaluation.positions[evaluation.frame_index == i]) for i, atoms in enumerate(frames)]
        return replace(evaluation, energy=evaluation.energy + torch.stack(parts))

    return change


_pulls_atoms = _add_to_energy(lambda _atoms, positions: 1e-3 * positions[:, 0].sum())
_knows_the_origin = _add_to_energy(
    lambda atoms, positions: 1e-3 * (len(atoms) - 1) * positions[0, 0] * (not atoms.pbc.any())
)
_knows_the_axes = _add_to_energy(
    lambda atoms, positions: 0.01 * (positions - positions.mean(0))[:, 0].square().sum() * (not atoms.pbc.any())
)
_knows_the_order = _add_to_energy(
    lambda atoms, positions: 0.01 * (positions[0] - positions[-1]).square().sum() * (not atoms.pbc.any())
)
_counts_cells = _add_to_energy(lambda atoms, positions: 0.0 * positions.sum() + 0.01 * bool(atoms.pbc.all()))


def _batch_dependent(frames: Sequence[Atoms], evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, energy=evaluation.energy + 1e-3 * len(frames))


def _detached(_frames: Sequence[Atoms], evaluation: Evaluation) -> Evaluation:
    constant = evaluation.features.detach() + 0.0 * (evaluation.positions.sum() + evaluation.strain.sum())
    return replace(evaluation, features=constant)


def _wrong_forces(_frames: Sequence[Atoms], evaluation: Evaluation) -> Evaluation:
    forces, stress = evaluation.derivatives(evaluation.energy.sum(), retain_graph=True)
    return replace(evaluation, closed_forces=1.01 * forces, closed_stress=stress)


def _wrong_stress(_frames: Sequence[Atoms], evaluation: Evaluation) -> Evaluation:
    forces, stress = evaluation.derivatives(evaluation.energy.sum(), retain_graph=True)
    return replace(evaluation, closed_forces=forces, closed_stress=-stress)


def _writes_info(frames: Sequence[Atoms], evaluation: Evaluation) -> Evaluation:
    frames[0].info["changed"] = True
    return evaluation


def _nan_energy(_frames: Sequence[Atoms], evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, energy=evaluation.energy * torch.nan)


def _volume_everywhere(_frames: Sequence[Atoms], evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, volumes=torch.ones_like(evaluation.volumes))


def test_a_sound_backbone_passes() -> None:
    assert isinstance(PairBackbone(), Backbone)
    check_backbone(PairBackbone())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_pulls_atoms, "forces on a lone atom"),
        (_knows_the_origin, "after translation"),
        (_knows_the_axes, "after rotation"),
        (_knows_the_order, "after permutation"),
        (_counts_cells, "energy of a doubled cell"),
        (_batch_dependent, "in a batch"),
        (_detached, "feature tangents"),
        (_wrong_forces, "forces against finite differences"),
        (_wrong_stress, "stress against finite differences"),
        (_writes_info, "modified the caller's"),
        (_nan_energy, "not finite"),
        (_volume_everywhere, "volumes"),
    ],
)
def test_each_violation_is_detected(change: Change, message: str) -> None:
    with pytest.raises(BackboneCheckError, match=message):
        check_backbone(PairBackbone(change=change))


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("fingerprint", "abc", "SHA-256"),
        ("elements", frozenset(), "atomic numbers"),
        ("cutoff_A", float("nan"), "cutoff_A"),
        ("feature_size", 3, "features is"),
        ("level_of_theory", "", "level_of_theory"),
    ],
)
def test_wrong_identity(attribute: str, value: Any, message: str) -> None:
    backbone = PairBackbone()
    setattr(backbone, attribute, value)
    with pytest.raises(BackboneCheckError, match=message):
        check_backbone(backbone)


def test_an_object_without_the_members_is_no_backbone() -> None:
    with pytest.raises(BackboneCheckError, match="protocol"):
        check_backbone(object())
