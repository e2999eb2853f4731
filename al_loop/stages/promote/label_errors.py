"""Promotion by labels: the held-back ones, the newest ones, and a sample of earlier ones."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from al_loop.records import LabelledFrame
from al_loop.stages.promote.criterion import Criterion
from al_loop.stages.promote.predictions import ForceErrors


def held_back(errors: ForceErrors, frames: Sequence[LabelledFrame], max_ratio: float) -> Criterion:
    """Check that the force error on calibration frames, which neither model was trained on, does not rise.

    ``max_ratio`` is in units of the served model's error.
    """
    name = "held-back labels"
    if not frames:
        return Criterion(name, False, None, max_ratio, "there are no calibration labels to compare on")
    return _compared(name, errors, frames, max_ratio, f"{len(frames)} calibration frames")


def newest(errors: ForceErrors, frames: Sequence[LabelledFrame], max_ratio: float) -> Criterion:
    """Check that the force error falls on the labels that the served model was not trained on.

    The candidate was trained on them, so this is necessary, not sufficient: a candidate that did not learn its newest
    training labels is broken. An equal error fails: nothing was learnt.
    """
    name = "newest labels"
    if not frames:
        return Criterion(name, False, None, max_ratio, "there is no label that the served model was not trained on")
    rests_on = f"{len(frames)} new labels, which the candidate was trained on"
    compared = _compared(name, errors, frames, max_ratio, rests_on)
    new, old, _ = errors.mae(frames)
    return replace(compared, passed=compared.passed and (new < max_ratio * old or new == 0))


def earlier(
    errors: ForceErrors, frames: Sequence[LabelledFrame], unseen: Sequence[LabelledFrame], max_rise: float
) -> Criterion:
    """Check that the force error on a fixed sample of labels of former rounds rises by less than ``max_rise``.

    The served model was trained on them, and the fewer labels it had, the smaller its training error: a better model
    trained on more labels would seem to forget. So the rise is measured from the error that the served model would
    have on them as unseen frames, if that is larger: the foundation's error on them times the ratio of the served
    model's error to the foundation's on unseen frames.
    """
    name, limit = "earlier labels", 1 + max_rise
    if not frames:
        return Criterion(name, True, None, limit, "there are no labels of former rounds")
    new, old, foundation = errors.mae(frames)
    _, old_unseen, foundation_unseen = errors.mae(unseen)
    expected = max(old, foundation * old_unseen / foundation_unseen) if foundation_unseen > 0 else old
    passed = bool(np.isfinite(new) and new <= limit * expected)
    sentence = (
        f"{_measured(new)}, the served model's {old:.4f}, {expected:.4f} expected had it not been trained on them (at "
        f"most {limit:g}x is allowed), on {len(frames)} labels of former rounds"
    )
    return Criterion(name, passed, _ratio(new, expected), limit, sentence)


def _compared(
    name: str, errors: ForceErrors, frames: Sequence[LabelledFrame], max_ratio: float, rests_on: str
) -> Criterion:
    new, old, _ = errors.mae(frames)
    passed = bool(np.isfinite(new) and new <= max_ratio * old)
    sentence = f"{_measured(new)}, the served model's {old:.4f} (at most {max_ratio:g}x is allowed), on {rests_on}"
    return Criterion(name, passed, _ratio(new, old), max_ratio, sentence)


def _measured(mae: float) -> str:
    return f"force MAE {mae:.4f} eV/Å" if np.isfinite(mae) else "the candidate's forces are not finite"


def _ratio(new: float, old: float) -> float | None:
    """Ratio of two errors, None where it is not finite; 1 for two errors of zero."""
    if new == old:
        return 1.0
    return new / old if old > 0 and np.isfinite(new) else None
