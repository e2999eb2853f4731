"""Force errors of candidate, served model and foundation on labelled frames, predicted once for all criteria."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from al_loop.gate.beside_foundation import predict_beside
from al_loop.records import LabelledFrame
from committee.potential import CommitteePotential
from committee.prediction import Prediction

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FoundationDeviation:
    """The foundation's error on labels.

    Attributes:
        rmse: root mean square error of its force components, eV/Å.
        rms_force: root mean square of its force components themselves, eV/Å.
    """

    rmse: float
    rms_force: float

    def expected(self, rms_force: float) -> float:
        """Expected RMSE, eV/Å, for forces of another size: it grows with the forces and never shrinks."""
        return self.rmse * max(1.0, rms_force / self.rms_force) if self.rms_force > 0 else self.rmse


@dataclass(frozen=True)
class ForceErrors:
    """Force errors of candidate, served model and foundation by frame id, (3, n, 3) eV/Å each."""

    by_frame: dict[str, Array]

    @classmethod
    def of(
        cls,
        candidate: CommitteePotential,
        served: CommitteePotential,
        frames: Iterable[LabelledFrame],
        foundation: CommitteePotential | None = None,
    ) -> "ForceErrors":
        """Predict every frame once with each model.

        ``foundation`` is that before any adaptation; None for that of the candidate.
        """
        distinct = list({frame.frame_id: frame for frame in frames}.values())
        atoms = [frame.atoms for frame in distinct]
        new = predict_beside(candidate, foundation, atoms)
        old = served.predict(atoms, "energy")
        return cls({f.frame_id: _errors(f, n, o) for f, n, o in zip(distinct, new, old, strict=True)})

    def mae(self, frames: Sequence[LabelledFrame]) -> tuple[float, float, float]:
        """Mean absolute error of the force components of candidate, served model and foundation, eV/Å.

        NaN without frames.
        """
        if not frames:
            return float("nan"), float("nan"), float("nan")
        errors = np.concatenate([self.by_frame[frame.frame_id] for frame in frames], axis=1)
        new, old, bare = np.abs(errors).mean(axis=(1, 2)).tolist()
        return new, old, bare

    def foundation_error(self, frames: Sequence[LabelledFrame]) -> "FoundationDeviation":
        """The foundation's force error on labelled frames; NaN without frames."""
        if not frames:
            return FoundationDeviation(float("nan"), float("nan"))
        errors = np.concatenate([self.by_frame[frame.frame_id][2] for frame in frames])
        labels = np.concatenate([frame.forces_eV_per_A for frame in frames])
        return FoundationDeviation(root_mean_square(errors), root_mean_square(errors + labels))


def root_mean_square(values: Array) -> float:
    """√⟨x²⟩ over all entries."""
    return float(np.sqrt(np.mean(values**2)))


def _errors(frame: LabelledFrame, new: Prediction, old: Prediction) -> Array:
    label = frame.forces_eV_per_A
    bare = np.full_like(label, np.nan) if new.foundation_forces is None else new.foundation_forces
    return np.stack([new.forces, old.forces, bare]) - label
