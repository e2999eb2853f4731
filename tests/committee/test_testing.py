"""The shipped check must fail for backbones that break the contract, each for its own reason."""

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

    def __init__(self, dtype: torch.dtype = torch.float32, change: Change = lambda _frames, answer: answer) -> None:
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
        answer = Evaluation(
            leaves.positions, leaves.strain, energy, h, leaves.atomic_numbers, leaves.frame_index, leaves.volumes
        )
        return self.change(frames, answer)


def _add_to_energy(extra: Callable[[Atoms, torch.Tensor], torch.Tensor]) -> Change:
    def change(frames: Sequence[Atoms], answer: Evaluation) -> Evaluation:
        parts = [extra(atoms, answer.positions[answer.frame_index == i]) for i, atoms in enumerate(frames)]
        return replace(answer, energy=answer.energy + torch.stack(parts))

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


def _batch_dependent(frames: Sequence[Atoms], answer: Evaluation) -> Evaluation:
    return replace(answer, energy=answer.energy + 1e-3 * len(frames))


def _detached(_frames: Sequence[Atoms], answer: Evaluation) -> Evaluation:
    constant = answer.features.detach() + 0.0 * (answer.positions.sum() + answer.strain.sum())
    return replace(answer, features=constant)


def _wrong_forces(_frames: Sequence[Atoms], answer: Evaluation) -> Evaluation:
    forces, stress = answer.derivatives(answer.energy.sum(), retain_graph=True)
    return replace(answer, closed_forces=1.01 * forces, closed_stress=stress)


def _wrong_stress(_frames: Sequence[Atoms], answer: Evaluation) -> Evaluation:
    forces, stress = answer.derivatives(answer.energy.sum(), retain_graph=True)
    return replace(answer, closed_forces=forces, closed_stress=-stress)


def _writes_info(frames: Sequence[Atoms], answer: Evaluation) -> Evaluation:
    frames[0].info["seen"] = True
    return answer


def _nan_energy(_frames: Sequence[Atoms], answer: Evaluation) -> Evaluation:
    return replace(answer, energy=answer.energy * torch.nan)


def _volume_everywhere(_frames: Sequence[Atoms], answer: Evaluation) -> Evaluation:
    return replace(answer, volumes=torch.ones_like(answer.volumes))


def test_a_sound_backbone_passes() -> None:
    assert isinstance(PairBackbone(), Backbone)
    check_backbone(PairBackbone())


@pytest.mark.parametrize(
    ("change", "words"),
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
def test_each_broken_promise_is_noticed(change: Change, words: str) -> None:
    with pytest.raises(BackboneCheckError, match=words):
        check_backbone(PairBackbone(change=change))


@pytest.mark.parametrize(
    ("attribute", "value", "words"),
    [
        ("fingerprint", "abc", "SHA-256"),
        ("elements", frozenset(), "atomic numbers"),
        ("cutoff_A", float("nan"), "cutoff_A"),
        ("feature_size", 3, "features is"),
        ("level_of_theory", "", "level_of_theory"),
    ],
)
def test_wrong_identity(attribute: str, value: Any, words: str) -> None:
    backbone = PairBackbone()
    setattr(backbone, attribute, value)
    with pytest.raises(BackboneCheckError, match=words):
        check_backbone(backbone)


def test_an_object_without_the_members_is_no_backbone() -> None:
    with pytest.raises(BackboneCheckError, match="protocol"):
        check_backbone(object())
