"""The frames of a round against the calibration frames of the model that explored them."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from al_loop.stages.evaluate.conditions import explored_conditions
from committee.uncertainty.calibration import Calibration
from committee.uncertainty.drift import CalibrationScores


@pytest.fixture
def calibration() -> Calibration:
    sigmas = [np.linspace(0.01, 0.1, 4) * (i + 1) for i in range(12)]
    return Calibration.fit([2 * s for s in sigmas], sigmas, sigmas, tolerance_eV_per_A=0.2)


@pytest.fixture
def scores() -> CalibrationScores:
    known = tuple(np.random.default_rng(0).random(40).tolist())
    return CalibrationScores(known, known, ("copper/300K",) * 20 + ("copper/600K",) * 20)


def model(scores: CalibrationScores | None, calibration: Calibration | None) -> Any:
    """The parts of a committee that the comparison reads."""
    return SimpleNamespace(calibration_scores=scores, calibration=calibration)


def trajectories(
    count: int, length: int, shift: float, uncertainty: float | None = None
) -> list[tuple[str, float, float | None]]:
    """Frames whose latent distance is shifted, and whose uncertainty is shifted as far as given, or unknown."""
    rng = np.random.default_rng(1)
    known = 0.0 if uncertainty is None else uncertainty
    drawn = [(f"copper/300K/{t}", *rng.random(2)) for t in range(count) for _ in range(length)]
    return [(name, float(d + shift), None if uncertainty is None else float(u + known)) for name, d, u in drawn]


@pytest.mark.parametrize(("count", "length"), [(4, 64), (30, 3)])
def test_a_round_is_inside_or_outside(calibration, scores, count, length) -> None:
    inside = explored_conditions(model(scores, calibration), trajectories(count, length, 0.0))
    assert (inside["state"], inside["used"] >= 8) == ("inside", True)
    outside = explored_conditions(model(scores, calibration), trajectories(count, length, 2.0))
    assert outside["state"] == "outside"
    assert "withdrawn" in outside["text"]
    assert "al-loop recalibrate" in outside["text"]


def test_uncertainty_alone_shows_that_a_round_is_outside(calibration, scores) -> None:
    assert explored_conditions(model(scores, calibration), trajectories(4, 64, 0.0, 0.0))["state"] == "inside"
    outside = explored_conditions(model(scores, calibration), trajectories(4, 64, 0.0, 2.0))
    assert (outside["state"], outside["score"]) == ("outside", "uncertainty")


def test_short_trajectories_give_one_frame_each(calibration, scores) -> None:
    assert explored_conditions(model(scores, calibration), trajectories(30, 3, 0.0))["used"] == 30
    assert explored_conditions(model(scores, calibration), trajectories(3, 3, 0.0))["state"] == "not tested"


def test_without_calibration_frames_nothing_is_said(calibration, scores) -> None:
    frames = trajectories(4, 64, 2.0)
    for known, fitted in ((None, calibration), (scores, None), (replace(scores, latent_distance=()), calibration)):
        assert explored_conditions(model(known, fitted), frames)["state"] == "not tested"
