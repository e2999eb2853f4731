"""PROMOTE: a candidate replaces the served model only if it is better on frames it has not seen."""

from dataclasses import dataclass

import numpy as np

from al_loop.config import PromoteSettings
from al_loop.evaluate import Evaluation


@dataclass(frozen=True)
class Promotion:
    """The verdict on a candidate model.

    Attributes:
        promoted: the candidate is served from now on.
        reason: one readable sentence with the numbers.
        force_mae_candidate: eV/Å on the calibration frames.
        force_mae_served: eV/Å on the same frames.
    """

    promoted: bool
    reason: str
    force_mae_candidate: float
    force_mae_served: float


def judge_candidate(
    candidate: Evaluation | None, served: Evaluation | None, settings: PromoteSettings
) -> Promotion:
    """Compare the candidate's and the served model's forces on the same frames, which neither was trained on.

    Args:
        candidate: evaluation of the candidate on the calibration frames.
        served: evaluation of the served model (the foundation before the first promotion) on the same frames.
        settings: the allowed ratio.

    Without a single calibration label nothing can be compared, and the served model stays.
    """
    if candidate is None or served is None:
        return Promotion(False, "rejected: there are no calibration labels to compare on", np.nan, np.nan)
    new = float(np.abs(candidate.forces_served - candidate.forces_dft).mean())
    old = float(np.abs(served.forces_served - served.forces_dft).mean())
    numbers = f"force MAE on {len(candidate.frames)} calibration frames {new:.4f} against {old:.4f} eV/Å"
    if not np.isfinite(new):
        return Promotion(False, f"rejected: the candidate gives non-finite forces; {numbers}", new, old)
    if not new <= settings.max_error_ratio * old:
        return Promotion(
            False, f"rejected: {numbers} (at most {settings.max_error_ratio:g}x is allowed)", new, old
        )
    return Promotion(True, f"promoted: {numbers}", new, old)
