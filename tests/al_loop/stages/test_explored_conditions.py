"""The frames of a round against the calibration frames of the model that explored them."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase.build import bulk

from al_loop.records import LabelledFrame, Role
from al_loop.report.round_report import held_out_figures
from al_loop.stages.evaluate.conditions import explored_conditions
from al_loop.stages.evaluate.errors import HeldOutEvaluation, condition_of
from committee.uncertainty.calibration import Calibration
from committee.uncertainty.drift import CalibrationScores
from dft_interfaces.label import Label, LabelStatus


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


INSIDE = {"state": "inside", "text": ""}


def evaluation(frames: list[tuple[Role, str, float, float]]) -> HeldOutEvaluation:
    """Frames of two atoms, given by role, trajectory, spread and error on every atom (eV/Å)."""
    atoms, count = bulk("Cu", cubic=True)[:2], len(frames)
    forces, sigma, error = np.zeros((2 * count, 3)), np.zeros((2 * count, 3)), np.zeros((2 * count, 3))
    sigma[:, 0] = np.repeat([frame[2] for frame in frames], 2)
    error[:, 0] = np.repeat([frame[3] for frame in frames], 2)
    label = Label(LabelStatus.CONVERGED, "level", 0.0, forces[:2])
    return HeldOutEvaluation(
        frames=tuple(
            LabelledFrame(f"{i:016x}", atoms, role, "copper", trajectory, label=label)
            for i, (role, trajectory, _, _) in enumerate(frames)
        ),
        forces_dft=forces,
        forces_foundation=forces,
        forces_served=forces + error,
        forces_uncertainty=sigma,
        frame_index=np.repeat(np.arange(count), 2),
        energy_dft=np.zeros(count),
        energy_foundation=np.zeros(count),
        energy_served=np.zeros(count),
        atom_latent_distance=np.ones(2 * count),
        stress_dft=np.full((count, 6), np.nan),
        stress_served=np.full((count, 6), np.nan),
    )


def calibrated_on(found: HeldOutEvaluation, tolerance_eV_per_A: float) -> Calibration:
    mine = np.flatnonzero(found.has_role(Role.CALIBRATION))
    values = found.atom_errors(), found.atom_uncertainties(), found.atom_distances()
    return Calibration.fit(*([v[i] for i in mine] for v in values), tolerance_eV_per_A=tolerance_eV_per_A)


@pytest.fixture
def held_out() -> HeldOutEvaluation:
    cold = [(Role.CALIBRATION, f"copper/300K/{i}", 0.01 + 0.002 * i, 0.02 + 0.003 * i) for i in range(20)]
    tested = [(Role.TEST, "copper/300K/0", 0.02, 0.03), (Role.TEST, "copper/300K/1", 0.02, 0.5)]
    hot = [(Role.TEST, "copper/900K/0", 0.03, 0.04), (Role.TEST, "copper/900K/1", 9.0, 2.0)]
    return evaluation([*cold, *tested, *hot])


def test_each_condition_has_its_counts(held_out) -> None:
    explored = ["copper/300K/0", "copper/1200K/0"]
    figures = held_out_figures(held_out, calibrated_on(held_out, 0.1), INSIDE, ["copper/300K"] * 20, explored)
    counts = figures["guarantee"]["by_condition"]
    assert counts["copper/300K"] == {
        "calibration_frames": 20,
        "frames": 2,
        "trusted": 2,
        "exceeding": 1,
        "upper_bound": pytest.approx(0.95**0.5),  # P(at most 1 of 2) = 1 - p² = 0.05
    }
    assert (counts["copper/900K"]["calibration_frames"], counts["copper/900K"]["trusted"]) == (0, 1)
    empty = {"calibration_frames": 0, "frames": 0, "trusted": 0, "exceeding": 0, "upper_bound": 1.0}
    assert counts["copper/1200K"] == empty
    text = figures["guarantee"]["text"]
    assert (
        "the served model is not calibrated on frames of copper/1200K, copper/900K: there the guarantee is an" in text
    )
    assert not figures["guarantee"]["no_frame_trusted"]


def test_that_no_frame_can_be_trusted_is_said_with_the_remedy(held_out) -> None:
    guarantee = held_out_figures(held_out, calibrated_on(held_out, 0.001), INSIDE, ["copper/300K"])["guarantee"]
    assert guarantee["no_frame_trusted"]
    assert guarantee["text"].startswith("no frame can be trusted at 90%")
    assert "label more, or raise gate.force_tolerance_eV_per_A" in guarantee["text"]


def test_the_condition_of_a_continued_trajectory_is_that_of_the_first() -> None:
    assert condition_of("copper/300K/0/continued") == condition_of("copper/300K/0") == "copper/300K"
    assert condition_of("alone") == "alone"
