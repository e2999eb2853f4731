"""Fits on frames of a pool and their predictions for its other frames, in memory: a fit takes about a second."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pools import PoolFrame, load_pool
from systems import CACHE, SEVENNET
from telling import counting

from committee.backbones import load_backbone
from committee.model.heads import ResidualHeads
from committee.model.latent import LatentMetric, switching_function
from committee.model.tangents import cached_tangents
from committee.settings import CommitteeSettings, TrainingSettings
from committee.training.fitting import fit_heads
from committee.training.training_set import TrainingSet

COMMITTEE = CommitteeSettings()
# A third of the default epochs at twice the rate: the same curves (within 5 %) at a third of the price.
TRAINING = TrainingSettings(epochs=150, learning_rate=1e-2)


@dataclass(frozen=True)
class Fit:
    """Heads and latent distance of one fit."""

    heads: ResidualHeads
    metric: LatentMetric


class Pool:
    """One chemistry's frames with the foundation's energies, features and tangents.

    Attributes:
        frames: all of them.
        candidates: indices of those that may be labelled.
        held_out: indices of the others.
        features: (F, n, D).
        numbers: (n,) of every frame.
    """

    def __init__(self, name: str, *, quick: bool = False) -> None:
        backbone = load_backbone(SEVENNET)
        self.name = name
        self.frames: list[PoolFrame] = load_pool(name, quick=quick)
        named = [(frame.training.id, frame.training.atoms) for frame in self.frames]
        report = counting(f"frames of {name} whose tangents are known")
        entries = cached_tangents(backbone, named, CACHE / "tangents", progress=report)
        self.candidates = [i for i, frame in enumerate(self.frames) if not frame.held_out]
        self.held_out = [i for i, frame in enumerate(self.frames) if frame.held_out]
        self.numbers = self.frames[0].training.atoms.numbers
        self.features = np.stack([entry.features for entry in entries])
        self._set = TrainingSet([frame.training for frame in self.frames], entries)
        self._elements = tuple(sorted(backbone.elements))
        moves = 3 * len(self.numbers)
        self._tangents = torch.as_tensor(np.stack([entry.tangents[:moves].reshape(moves, -1) for entry in entries]))
        self._foundation = np.stack([entry.forces for entry in entries]).astype(float)
        self._labels = np.stack([frame.training.forces_eV_per_A for frame in self.frames])
        self.conditions = np.array([frame.condition for frame in self.frames])

    def keep_equal_shares(self) -> None:
        """Leave as many candidates of each condition as the rarest has, spread over its trajectories."""
        where = self.conditions[self.candidates]
        kept = min(int((where == name).sum()) for name in set(where))
        self.candidates = [
            self.candidates[mine[j]]
            for mine in (np.flatnonzero(where == name) for name in dict.fromkeys(where))
            for j in np.linspace(0, len(mine) - 1, kept).round().astype(int)
        ]

    @property
    def foundation_mae(self) -> float:
        """Force MAE of the foundation on held-out frames, eV/Å."""
        return float(np.abs(self._foundation - self._labels)[self.held_out].mean())

    def fit(self, labelled: Sequence[int], seed: int) -> Fit:
        """Fit as in ``committee.training.train.train``, without files."""
        heads = ResidualHeads(COMMITTEE, self.features.shape[-1], self._elements, seed)
        part = self._set.part(labelled)
        shifts, latent = part.shifts(TRAINING), part.latent()
        data = part.dense(heads, shifts, latent, COMMITTEE, TRAINING)
        heads.standardise_by(data.features, data.rows)
        fit_heads(heads, data, TRAINING, seed)
        return Fit(heads.requires_grad_(False), latent.metric())

    def held_out_errors(self, fit: Fit) -> dict[str, float]:
        """Force MAE over all held-out frames, and by condition, eV/Å."""
        wrong = np.abs(self._answers(fit, self.held_out)[0] - self._labels[self.held_out])
        where = self.conditions[self.held_out]
        by_condition = {str(name): float(wrong[where == name].mean()) for name in dict.fromkeys(where)}
        return {"all": float(wrong.mean()), **by_condition}

    def uncertainties(self, fit: Fit) -> np.ndarray:
        """(candidates,) largest per-atom force uncertainty, eV/Å."""
        members = self._answers(fit, self.candidates)[1]
        return np.linalg.norm(members.std(axis=-1, ddof=1), axis=-1).max(axis=1)

    def _answers(self, fit: Fit, rows: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Served forces (F, n, 3) and the members' unswitched corrections (F, n, 3, K), one dense product each."""
        features = torch.as_tensor(self.features[rows])
        frames, atoms, size = features.shape
        leaf = features.reshape(-1, size).clone().requires_grad_()
        numbers = torch.as_tensor(self.numbers).repeat(frames)
        elements = fit.heads.rows(numbers)
        factor = switching_function(fit.metric(leaf.double(), numbers), COMMITTEE.switch_start, COMMITTEE.switch_end)
        switched = (fit.heads.mean_value(leaf, elements) * factor).sum()
        slope = torch.autograd.grad(switched, leaf)[0].float().reshape(frames, atoms * size, 1)
        with torch.no_grad():
            member_slopes = fit.heads(leaf.detach(), elements)[1].reshape(-1, frames, atoms * size).permute(1, 2, 0)
            tangents = self._tangents[rows]
            mean = -torch.bmm(tangents, slope).reshape(frames, atoms, 3).numpy()
            members = -torch.bmm(tangents, member_slopes).reshape(frames, atoms, 3, -1).numpy()
        return self._foundation[rows] + mean, members
