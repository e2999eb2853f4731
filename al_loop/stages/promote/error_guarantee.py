"""Promotion by the guarantee: P(largest force error > tolerance | trusted) is at most 1 - confidence."""

from al_loop.stages.promote.criterion import Criterion
from committee.uncertainty.calibration import Calibration

NAME = "error guarantee"


def error_guarantee(calibration: Calibration | None) -> Criterion:
    """Check that the guarantee is proven, or not contradicted while trusted frames are too few for a proof.

    While fewer frames are trusted than contain one exceeding frame on average (10 at 90 %), a single exceeding one does
    not contradict it: the rate is computed with that number of frames.
    """
    if calibration is None:
        return Criterion(NAME, False, None, None, "the candidate could not be calibrated")
    limit = round(1 - calibration.confidence, 9)
    if calibration.guarantee_proven:
        return Criterion(NAME, True, calibration.trusted_error_bound, limit, calibration.summary)
    if calibration.quantile is None or calibration.trusted == 0:
        waiting = calibration.summary if calibration.quantile is None else "no calibration frame is trusted"
        return Criterion(NAME, True, None, limit, f"nothing is guaranteed yet ({waiting})")
    rate = calibration.trusted_exceeding / max(calibration.trusted, 1 / limit)
    passed = rate <= limit + 1e-9
    result = "not contradicted" if passed else "contradicted"
    share = f"share {rate:.0%}, at most {limit:.0%} may"
    return Criterion(NAME, passed, rate, limit, f"{result}: {share}; {calibration.summary}")
