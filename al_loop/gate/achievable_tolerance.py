"""The smallest force tolerance that calibration frames can guarantee, where the configured one is out of reach."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from committee.uncertainty.calibration import Calibration
from committee.uncertainty.conformal import frames_needed, frames_to_prove
from committee.uncertainty.score import largest

Array = NDArray[np.float64]


def achievable_tolerance(
    errors: Sequence[Array], sigmas: Sequence[Array], latent: Sequence[Array], confidence: float
) -> float | None:
    """Smallest tolerance that calibration frames can guarantee, eV/Å; None if they can guarantee none.

    With enough frames for a proof it is the smallest proven tolerance, with fewer the smallest at which any frame is
    trusted. The frames' own largest errors are tried, and up to twice the largest of them. Arguments are as for
    ``Calibration.fit``.
    """
    if len(errors) < frames_needed(confidence):
        return None
    must_prove = len(errors) >= frames_to_prove(confidence)
    worst = np.unique(largest(errors))
    for tolerance in np.append(worst, worst[-1] * np.array([1.1, 1.25, 1.5, 2.0])):
        if tolerance <= 0:
            continue
        tried = Calibration.fit(errors, sigmas, latent, tolerance_eV_per_A=float(tolerance), confidence=confidence)
        if tried.guarantee_proven or (tried.trusted > 0 and not must_prove):
            return float(tolerance)
    return None


def out_of_reach(calibration: Calibration, reachable_eV_per_A: float | None) -> str | None:
    """Return a message that the tolerance is out of reach, with the smallest that is not; None if it is in reach."""
    if calibration.quantile is None or calibration.guarantee_proven:
        return None
    if calibration.trusted > 0 and calibration.frames < frames_to_prove(calibration.confidence):
        return None  # more frames are needed, not a better model
    beyond = f"a tolerance of {calibration.tolerance_eV_per_A:g} eV/Å is out of reach so far"
    if reachable_eV_per_A is None:
        return f"{beyond}, and so is any other with these {calibration.frames} calibration frames; label more"
    return (
        f"{beyond}: on these {calibration.frames} calibration frames the smallest that holds is "
        f"{_rounded_up(reachable_eV_per_A):g} eV/Å; label more, or raise gate.force_tolerance_eV_per_A"
    )


def _rounded_up(value: float) -> float:
    """Two significant digits, never below the value."""
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(np.round(np.ceil(value / unit - 1e-9) * unit, 12))
