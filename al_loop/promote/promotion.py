"""PROMOTE: a candidate replaces the served model only if it is better on frames it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from al_loop.config import PromoteSettings
from al_loop.loop.evaluate import dft_forces
from al_loop.records import LabelledFrame
from committee.potential import CommitteePotential


@dataclass(frozen=True)
class Promotion:
    """The verdict on a candidate model.

    Attributes:
        promoted: the candidate is served from now on.
        reason: one readable sentence with the numbers.
        force_mae_candidate: eV/Å on the calibration frames; NaN without any.
        force_mae_served: eV/Å on the same frames.
    """

    promoted: bool
    reason: str
    force_mae_candidate: float
    force_mae_served: float


def judge_candidate(
    candidate: CommitteePotential,
    served: CommitteePotential,
    frames: Sequence[LabelledFrame],
    settings: PromoteSettings,
) -> Promotion:
    """Compare the forces of candidate and served model on frames that neither was trained on.

    Args:
        candidate: the newly trained committee.
        served: the served model; the untrained committee before the first promotion.
        frames: calibration frames. Without a single one nothing can be compared, and the served model stays.
        settings: the allowed ratio.
    """
    if not frames:
        return Promotion(False, "there are no calibration labels to compare on", np.nan, np.nan)
    new, old = force_mae(candidate, frames), force_mae(served, frames)
    numbers = f"force MAE on {len(frames)} calibration frames {new:.4f} eV/Å, the served model's {old:.4f}"
    if not np.isfinite(new):
        return Promotion(False, f"the candidate gives non-finite forces; {numbers}", new, old)
    if not new <= settings.max_error_ratio * old:
        return Promotion(False, f"{numbers} (at most {settings.max_error_ratio:g}x is allowed)", new, old)
    return Promotion(True, numbers, new, old)


def force_mae(potential: CommitteePotential, frames: Sequence[LabelledFrame]) -> float:
    """Mean absolute error of the force components, eV/Å."""
    predictions = potential.predict([frame.atoms for frame in frames], "energy")
    errors = [p.forces - dft_forces(frame) for p, frame in zip(predictions, frames, strict=True)]
    return float(np.abs(np.concatenate(errors)).mean())
