"""The frames of a round against the calibration frames of the model that explored them."""

from dataclasses import replace

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


def trajectories(count: int, length: int, shift: float) -> list[tuple[str, float]]:
    rng = np.random.default_rng(1)
    return [(f"copper/300K/{t}", float(rng.random() + shift)) for t in range(count) for _ in range(length)]


@pytest.mark.parametrize(("count", "length"), [(4, 64), (30, 3)])
def test_a_round_is_inside_or_outside(calibration, scores, count, length) -> None:
    inside = explored_conditions(scores, trajectories(count, length, 0.0), calibration)
    assert (inside["state"], inside["used"] >= 8) == ("inside", True)
    outside = explored_conditions(scores, trajectories(count, length, 2.0), calibration)
    assert outside["state"] == "outside"
    assert "withdrawn" in outside["text"]
    assert "al-loop recalibrate" in outside["text"]


def test_short_trajectories_give_one_frame_each(calibration, scores) -> None:
    assert explored_conditions(scores, trajectories(30, 3, 0.0), calibration)["used"] == 30
    assert explored_conditions(scores, trajectories(3, 3, 0.0), calibration)["state"] == "not tested"


def test_without_calibration_frames_nothing_is_said(calibration, scores) -> None:
    frames = trajectories(4, 64, 2.0)
    for known, model in ((None, calibration), (scores, None), (replace(scores, latent_distance=()), calibration)):
        assert explored_conditions(known, frames, model)["state"] == "not tested"
