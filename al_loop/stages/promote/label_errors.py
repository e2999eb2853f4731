"""Promotion by labels: those held back, the newest ones, and a sample of the earlier ones."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from al_loop.records import LabelledFrame
from al_loop.stages.promote.criterion import Criterion
from al_loop.stages.promote.predictions import Answers


def held_back(answers: Answers, frames: Sequence[LabelledFrame], max_ratio: float) -> Criterion:
    """The force error on calibration frames, which neither model was trained on, does not rise.

    Args:
        answers: of both models on all frames.
        frames: calibration frames.
        max_ratio: allowed error of the candidate in units of the served model's.
    """
    name = "held-back labels"
    if not frames:
        return Criterion(name, False, None, max_ratio, "there are no calibration labels to compare on")
    return _compared(name, answers, frames, max_ratio, f"{len(frames)} calibration frames")


def newest(answers: Answers, frames: Sequence[LabelledFrame], max_ratio: float) -> Criterion:
    """The force error on the labels that the served model does not know falls.

    The candidate was trained on them, so this is necessary, not sufficient: a candidate that did not even learn what
    it was shown in the region that was just explored is broken. Equal is not lower: nothing was learnt.

    Args:
        answers: of both models on all frames.
        frames: labels made since the served model was trained.
        max_ratio: allowed error of the candidate in units of the served model's.
    """
    name = "newest labels"
    if not frames:
        return Criterion(name, False, None, max_ratio, "there is no label that the served model does not know yet")
    rests_on = f"{len(frames)} new labels, which the candidate was trained on"
    compared = _compared(name, answers, frames, max_ratio, rests_on)
    new, old, _ = answers.mae(frames)
    return replace(compared, passed=compared.passed and (new < max_ratio * old or new == 0))


def earlier(
    answers: Answers, frames: Sequence[LabelledFrame], unseen: Sequence[LabelledFrame], max_rise: float
) -> Criterion:
    """The force error on a frozen sample of the labels of former rounds rises by less than ``max_rise``.

    The served model was trained on them, and the fewer labels it had, the smaller its error on them became, whatever
    it is worth elsewhere: a better model trained on more of them would seem to forget. So the rise counts from the
    error that the served model would have on them unseen, if that is larger: the foundation's error on them times the
    share of the foundation's error that the served model leaves on frames that it has not seen.

    Args:
        answers: of both models on all frames.
        frames: the sample.
        unseen: calibration frames.
        max_rise: allowed relative rise against the served model.
    """
    name, limit = "earlier labels", 1 + max_rise
    if not frames:
        return Criterion(name, True, None, limit, "there are no labels of former rounds that could be forgotten")
    new, old, foundation = answers.mae(frames)
    _, left, of = answers.mae(unseen)
    expected = max(old, foundation * left / of) if of > 0 else old
    passed = bool(np.isfinite(new) and new <= limit * expected)
    sentence = (
        f"{_measured(new)}, the served model's {old:.4f}, {expected:.4f} had it not been trained on them (at most "
        f"{limit:g}x is allowed), on {len(frames)} labels of former rounds"
    )
    return Criterion(name, passed, _ratio(new, expected), limit, sentence)


def _compared(
    name: str, answers: Answers, frames: Sequence[LabelledFrame], max_ratio: float, rests_on: str
) -> Criterion:
    new, old, _ = answers.mae(frames)
    passed = bool(np.isfinite(new) and new <= max_ratio * old)
    sentence = f"{_measured(new)}, the served model's {old:.4f} (at most {max_ratio:g}x is allowed), on {rests_on}"
    return Criterion(name, passed, _ratio(new, old), max_ratio, sentence)


def _measured(mae: float) -> str:
    return f"force MAE {mae:.4f} eV/Å" if np.isfinite(mae) else "the candidate's forces are not finite"


def _ratio(new: float, old: float) -> float | None:
    """Error in units of another, None where it is not finite; two errors of zero are alike."""
    if new == old:
        return 1.0
    return new / old if old > 0 and np.isfinite(new) else None
