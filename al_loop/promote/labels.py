"""Promotion by labels: those held back, the newest ones, and a sample of the earlier ones."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from al_loop.promote.answers import Answers
from al_loop.promote.criterion import Criterion
from al_loop.records import LabelledFrame


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
    new, old = answers.mae(frames)
    return replace(compared, passed=compared.passed and (new < max_ratio * old or new == 0))


def earlier(answers: Answers, frames: Sequence[LabelledFrame], max_rise: float) -> Criterion:
    """The force error on a frozen sample of the labels of former rounds rises by less than ``max_rise``.

    Args:
        answers: of both models on all frames.
        frames: the sample.
        max_rise: allowed relative rise against the served model.
    """
    name = "earlier labels"
    if not frames:
        return Criterion(name, True, None, 1 + max_rise, "there are no labels of former rounds that could be forgotten")
    return _compared(name, answers, frames, 1 + max_rise, f"{len(frames)} labels of former rounds")


def _compared(
    name: str, answers: Answers, frames: Sequence[LabelledFrame], max_ratio: float, rests_on: str
) -> Criterion:
    new, old = answers.mae(frames)
    ratio = new / old if old > 0 else (1.0 if new == 0 else np.inf)
    passed = bool(np.isfinite(new) and new <= max_ratio * old)
    measured = f"force MAE {new:.4f} eV/Å" if np.isfinite(new) else "the candidate's forces are not finite"
    sentence = f"{measured}, the served model's {old:.4f} (at most {max_ratio:g}x is allowed), on {rests_on}"
    return Criterion(name, passed, float(ratio) if np.isfinite(ratio) else None, max_ratio, sentence)
