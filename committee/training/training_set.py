"""Labelled frames together with what the foundation says of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from committee.model.heads import ResidualHeads
from committee.model.latent import LatentDistance
from committee.model.reference_shifts import ReferenceShifts
from committee.model.switching import switching_function
from committee.model.tangents import Tangents
from committee.settings import CommitteeSettings, TrainingSettings
from committee.training.dense import DenseData, Target, dense_data
from committee.training.losses import ENERGY_SHARE
from committee.training.training_frame import TrainingFrame

Array = NDArray[np.float64]
_WIDENINGS = tuple(2.0**k for k in range(9, -1, -1) for _ in range(5))  # a narrow cut alone creeps


@dataclass(frozen=True)
class TrainingSet:
    """B frames.

    Attributes:
        frames: the labels.
        seen: the same frames through the foundation.
    """

    frames: Sequence[TrainingFrame]
    seen: Sequence[Tangents]

    def part(self, indices: Sequence[int]) -> "TrainingSet":
        """Some of the frames."""
        return TrainingSet([self.frames[i] for i in indices], [self.seen[i] for i in indices])

    def judged_beside(self, fitted: "TrainingSet") -> "TrainingSet":
        """What of frames held back can be judged beside those that are fitted.

        An energy says something only where the energies that are fitted determine the reference shifts of its
        composition: what is left of an undetermined shift, up to hundreds of eV per atom, would outweigh every force.

        Args:
            fitted: the frames that shifts and heads are fitted to.
        """
        known = [f.atoms.numbers for f in fitted.frames if np.isfinite(f.energy_eV) and not f.aligned]
        frames = [
            frame
            if frame.aligned or ReferenceShifts.determined(known, frame.atoms.numbers)
            else replace(frame, energy_eV=np.nan)
            for frame in self.frames
        ]
        judged = TrainingSet(frames, self.seen)
        return judged.part([i for i, frame in enumerate(frames) if frame.has_label])

    def shifts(
        self,
        training: TrainingSettings,
        corrections_eV: Array | None = None,
        prior_eV: Mapping[int, float] | None = None,
    ) -> ReferenceShifts:
        """Reference shifts of the main level's frames that have an energy; the prior, or none, if no frame has one.

        With Huber's loss a wrong energy does not draw the shifts along either.

        Args:
            training: the loss.
            corrections_eV: (B,) what the heads add to each frame.
            prior_eV: as for ``ReferenceShifts.fit``.
        """
        chosen = [i for i, frame in enumerate(self.frames) if np.isfinite(frame.energy_eV) and not frame.aligned]
        if not chosen:
            return ReferenceShifts(dict(prior_eV or {}))
        known = np.array([float(entry.energy) for entry in self.seen])
        if corrections_eV is not None:
            known = known + corrections_eV
        differences = np.array([self.frames[i].energy_eV - known[i] for i in chosen])
        numbers = [self.frames[i].atoms.numbers for i in chosen]
        if training.loss == "huber":
            differences = _without_outliers(numbers, differences, ENERGY_SHARE * training.huber_threshold_eV_per_A)
        return ReferenceShifts.fit(numbers, differences, prior_eV)

    def latent(self) -> LatentDistance:
        """Latent distance from these frames."""
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
                seen,
                frame.energy_above(shifts) - float(seen.energy),
                frame.forces_eV_per_A,
                frame.stress_eV_per_A3,
                training,
            )
            for frame, seen in zip(self.frames, self.seen, strict=True)
        ]
        numbers = [frame.atoms.numbers for frame in self.frames]
        return dense_data(self.seen, numbers, targets, heads, latent.metric(), committee, training)

    def corrections_eV(self, heads: ResidualHeads, latent: LatentDistance, committee: CommitteeSettings) -> Array:
        """Faded mean correction of each frame, (B,)."""
        features, numbers = torch.as_tensor(self._features()), torch.as_tensor(self._numbers())
        with torch.no_grad():
            fades = switching_function(
                latent.metric()(features.double(), numbers), committee.fade_onset, committee.fade_end
            )
            values = (heads.mean_value(features, heads.rows(numbers)) * fades).numpy()
        ends = np.cumsum([len(frame.atoms) for frame in self.frames])
        return np.array([part.sum() for part in np.split(values, ends[:-1])])

    def _features(self) -> NDArray[np.float32]:
        return np.concatenate([entry.features for entry in self.seen])

    def _numbers(self) -> NDArray[np.int64]:
        return np.concatenate([frame.atoms.numbers for frame in self.frames])


def _without_outliers(numbers: Sequence[NDArray[np.int64]], differences_eV: Array, threshold_eV: float) -> Array:
    """Huber's own iteration: what a fit leaves beyond the threshold (per atom) is cut off, and the fit done again.

    The cut starts wide and narrows, and each round leaves the outliers about their share of the frames as pull.
    """
    sizes = np.array([len(z) for z in numbers])
    clipped = differences_eV
    for widening in _WIDENINGS:
        fitted = ReferenceShifts.fit(numbers, clipped)
        totals = np.array([fitted.total_eV(z) for z in numbers])
        most = widening * threshold_eV * sizes
        clipped = totals + np.clip(differences_eV - totals, -most, most)
    return clipped
