"""Labelled frames with the foundation's energies, features and tangents."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from committee.backbones.contract import Backbone
from committee.model.directions import RandomDirections
from committee.model.heads import ResidualHeads
from committee.model.latent import LatentDistance, switching_function
from committee.model.reference_shifts import ReferenceShifts
from committee.model.tangents import TangentCache, Tangents
from committee.settings import CommitteeSettings, TrainingSettings
from committee.training.dense import DenseData, Target, dense_data
from committee.training.losses import ENERGY_SHARE
from committee.training.training_frame import TrainingFrame

Array = NDArray[np.float64]
_WIDENINGS = tuple(2.0**k for k in range(9, -1, -1) for _ in range(5))  # a narrow cut alone converges slowly


@dataclass(frozen=True)
class TrainingSet:
    """B frames."""

    frames: Sequence[TrainingFrame]
    tangents: Sequence[Tangents]

    @classmethod
    def read(
        cls,
        backbone: Backbone,
        frames: Sequence[TrainingFrame],
        folder: Path,
        training: TrainingSettings,
        progress: Callable[[int, int], None] | None = None,
    ) -> "TrainingSet":
        """Read the frames' tangents from the cache; compute and store missing ones.

        Args:
            backbone: the frozen foundation.
            frames: labelled frames.
            folder: of cached tangents.
            training: settings of the directions and weights.
            progress: called with (frames done, number of frames).
        """
        plans = [directions_of(frame, training) for frame in frames]
        structures = [(frame.id, frame.atoms) for frame in frames]
        return cls(frames, TangentCache(backbone, folder).read(structures, plans, progress))

    def part(self, indices: Sequence[int]) -> "TrainingSet":
        """Return the frames at these indices."""
        return TrainingSet([self.frames[i] for i in indices], [self.tangents[i] for i in indices])

    def comparable_with(self, fitted: "TrainingSet") -> "TrainingSet":
        """Return the held-out labels that a fit to other frames can predict.

        See ``comparable_frames``.
        """
        frames = comparable_frames(self.frames, fitted.frames)
        comparable = TrainingSet(frames, self.tangents)
        return comparable.part([i for i, frame in enumerate(frames) if frame.has_label])

    def shifts(
        self,
        training: TrainingSettings,
        corrections_eV: Array | None = None,
        prior_eV: Mapping[int, float] | None = None,
    ) -> ReferenceShifts:
        """Fit reference shifts, see ``fit_shifts``; ``corrections_eV`` (B,) are the heads' corrections."""
        predicted = np.array([float(entry.energy) for entry in self.tangents])
        if corrections_eV is not None:
            predicted = predicted + corrections_eV
        return fit_shifts(self.frames, predicted, training, prior_eV)

    def latent(self) -> LatentDistance:
        """Fit the latent distance to these frames."""
        numbers = {group: i for i, group in enumerate(sorted({frame.independent_group for frame in self.frames}))}
        groups = [np.full(len(frame.atoms), numbers[frame.independent_group]) for frame in self.frames]
        return LatentDistance().fit(self._features(), self._numbers(), np.concatenate(groups))

    def dense(
        self,
        heads: ResidualHeads,
        shifts: ReferenceShifts,
        latent: LatentDistance,
        committee: CommitteeSettings,
        training: TrainingSettings,
    ) -> DenseData:
        """Return the tensors of a fit."""
        targets = [
            Target.of(
                entry,
                frame.energy_above(shifts) - float(entry.energy),
                frame.forces_eV_per_A,
                frame.stress_eV_per_A3,
                training,
            )
            for frame, entry in zip(self.frames, self.tangents, strict=True)
        ]
        numbers = [frame.atoms.numbers for frame in self.frames]
        features = [entry.features for entry in self.tangents]
        return dense_data(features, numbers, targets, heads, latent.metric(), committee, training)

    def corrections_eV(self, heads: ResidualHeads, latent: LatentDistance, committee: CommitteeSettings) -> Array:
        """Return the switched mean correction of each frame, (B,)."""
        with torch.no_grad():
            values = self._corrections(torch.as_tensor(self._features()), heads, latent, committee).numpy()
        return np.array([part.sum() for part in np.split(values, self._ends())])

    def correction_slopes(
        self, heads: ResidualHeads, latent: LatentDistance, committee: CommitteeSettings
    ) -> list[Tensor]:
        """Return the derivative of each frame's switched mean correction with respect to its features, (n, D)."""
        features = torch.as_tensor(self._features()).requires_grad_()
        total = self._corrections(features, heads, latent, committee).sum()
        return list(torch.autograd.grad(total, features)[0].tensor_split(self._ends().tolist()))

    def _corrections(
        self, features: Tensor, heads: ResidualHeads, latent: LatentDistance, committee: CommitteeSettings
    ) -> Tensor:
        """Return each atom's switched mean correction, eV: features (N, D) -> (N,)."""
        numbers = torch.as_tensor(self._numbers())
        distances = latent.metric()(features.double(), numbers)
        switches = switching_function(distances, committee.switch_start, committee.switch_end)
        return heads.mean_value(features, heads.rows(numbers)) * switches

    def _ends(self) -> NDArray[np.int64]:
        """Return the row behind the last atom of each frame but the last."""
        return np.cumsum([len(frame.atoms) for frame in self.frames])[:-1]

    def _features(self) -> NDArray[np.float32]:
        return np.concatenate([entry.features for entry in self.tangents])

    def _numbers(self) -> NDArray[np.int64]:
        return np.concatenate([frame.atoms.numbers for frame in self.frames])


def directions_of(frame: TrainingFrame, training: TrainingSettings) -> RandomDirections | None:
    """Return the random directions of a frame; None where its tangents are exact."""
    count = training.random_count(len(frame.atoms), strained=bool(frame.atoms.pbc.all()))
    if count is None:
        return None
    weights = training.forces_weight, training.stress_weight
    return RandomDirections(frame.forces_eV_per_A, frame.stress_eV_per_A3, *weights, count)


def fit_shifts(
    frames: Sequence[TrainingFrame],
    predicted_eV: Array,
    training: TrainingSettings,
    prior_eV: Mapping[int, float] | None = None,
) -> ReferenceShifts:
    """Fit reference shifts to the main level's frames that have an energy; without any, return the prior.

    With Huber's loss the fit of the shifts is robust against wrong energies too.

    Args:
        frames: B labelled frames.
        predicted_eV: (B,) energies of the model before the shifts.
        training: the loss.
        prior_eV: as for ``ReferenceShifts.fit``.
    """
    chosen = [i for i, frame in enumerate(frames) if np.isfinite(frame.energy_eV) and not frame.aligned]
    if not chosen:
        return ReferenceShifts(dict(prior_eV or {}))
    differences = np.array([frames[i].energy_eV - predicted_eV[i] for i in chosen])
    numbers = [frames[i].atoms.numbers for i in chosen]
    if training.loss == "huber":
        differences = _without_outliers(numbers, differences, ENERGY_SHARE * training.huber_threshold_eV_per_A)
    return ReferenceShifts.fit(numbers, differences, prior_eV)


def comparable_frames(held_out: Sequence[TrainingFrame], fitted: Sequence[TrainingFrame]) -> list[TrainingFrame]:
    """Return held-out frames without the energies that a fit to other frames cannot predict.

    An energy is comparable only where the fitted energies determine the reference shifts of its composition: the
    error of an undetermined shift, up to hundreds of eV per atom, would outweigh every force.
    """
    compositions = [f.atoms.numbers for f in fitted if np.isfinite(f.energy_eV) and not f.aligned]
    return [
        frame
        if frame.aligned or ReferenceShifts.determined(compositions, frame.atoms.numbers)
        else replace(frame, energy_eV=np.nan)
        for frame in held_out
    ]


def _without_outliers(numbers: Sequence[NDArray[np.int64]], differences_eV: Array, threshold_eV: float) -> Array:
    """Clip the residuals of a fit to the threshold (per atom) and repeat the fit, which is Huber's iteration.

    The threshold starts wide and narrows: each iteration reduces an outlier's influence to about its share of the
    frames.
    """
    sizes = np.array([len(z) for z in numbers])
    clipped = differences_eV
    for widening in _WIDENINGS:
        fitted = ReferenceShifts.fit(numbers, clipped)
        totals = np.array([fitted.total_eV(z) for z in numbers])
        most = widening * threshold_eV * sizes
        clipped = totals + np.clip(differences_eV - totals, -most, most)
    return clipped
