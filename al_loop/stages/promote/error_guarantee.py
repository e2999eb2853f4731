"""Promotion by the guarantee: P(largest force error > tolerance | trusted) is at most 1 - confidence."""

from math import isfinite

from al_loop.stages.promote.criterion import Criterion
from committee.uncertainty.calibration import Calibration

NAME = "error guarantee"
MUCH_LOWER = 0.5  # force error in units of a served model's whose guarantee is proven: replaces it without trust
REMEDY = "label more frames, or raise gate.force_tolerance_eV_per_A"


def error_guarantee(
    calibration: Calibration | None, served: Calibration | None = None, error_ratio: float | None = None
) -> Criterion:
    """Check that the guarantee is proven, or not contradicted while trusted frames are too few for a proof.

    While fewer frames are trusted than contain one exceeding frame on average (10 at 90 %), a single exceeding one does
    not contradict it: the rate is computed with that number of frames. A candidate that trusts no frame may be served,
    since lower errors are progress, but it replaces a served model with a proven guarantee (of this tolerance or a
    smaller one) only if its force error is at most half of that model's.

    Args:
        calibration: of the candidate; None if it could not be calibrated.
        served: of the served model; None if it has none.
        error_ratio: force error of the candidate over that of the served model, on the calibration frames.
    """
    if calibration is None:
        return Criterion(NAME, False, None, None, "the candidate could not be calibrated")
    limit = round(1 - calibration.confidence, 9)
    if calibration.guarantee_proven:
        return Criterion(NAME, True, calibration.trusted_error_bound, limit, calibration.summary)
    if calibration.trusted == 0:
        return _trusting_nothing(calibration, served, error_ratio, limit)
    rate = calibration.trusted_exceeding / max(calibration.trusted, 1 / limit)
    passed = rate <= limit + 1e-9
    result = "not contradicted" if passed else "contradicted"
    share = f"share {rate:.0%}, at most {limit:.0%} may"
    return Criterion(NAME, passed, rate, limit, f"{result}: {share}; {calibration.summary}")


def trusts_nothing(calibration: Calibration | None) -> str:
    """Return that no frame can be trusted at this tolerance, and the remedy; empty if some can."""
    if calibration is None or calibration.trusted > 0:
        return ""
    remedy = "label more frames" if calibration.quantile is None else REMEDY
    return f"{calibration.summary}; {remedy}"


def _trusting_nothing(
    calibration: Calibration, served: Calibration | None, error_ratio: float | None, limit: float
) -> Criterion:
    sentence = f"nothing is guaranteed yet: {trusts_nothing(calibration)}"
    if served is None or not served.guarantee_proven or served.tolerance_eV_per_A > calibration.tolerance_eV_per_A:
        return Criterion(NAME, True, None, limit, sentence)
    known = error_ratio is not None and isfinite(error_ratio)
    passed = known and error_ratio is not None and error_ratio <= MUCH_LOWER
    ratio = f"{error_ratio:.2f}x" if known else "not finite"
    kept = (
        f"the served model's guarantee is proven ({served.tolerance_eV_per_A:g} eV/Å), so that the candidate's force "
        f"error on the calibration frames may be at most {MUCH_LOWER:g}x of that model's, and is {ratio}"
    )
    return Criterion(NAME, passed, error_ratio if known else None, MUCH_LOWER, f"{sentence}; {kept}")
