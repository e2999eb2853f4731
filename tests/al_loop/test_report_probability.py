"""The figure of the probability of an error above the tolerance, against the uncertainty."""

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image

from al_loop.report import probability
from al_loop.report.page import ReportData, render_report
from al_loop.report.probability import probability_curve
from al_loop.report.tables import CALIBRATION, TEST
from committee.uncertainty.calibration import Calibration
from committee.uncertainty.score import atomic_uncertainty, mean_of_largest

TOLERANCE_eV_per_A = 0.15


def calibrated(frames: int, tolerance_eV_per_A: float = TOLERANCE_eV_per_A) -> tuple[Calibration, dict[str, Any]]:
    """A calibration, and arrays of its frames and of as many test frames under the same conditions."""
    rng = np.random.default_rng(3)
    sigmas = [np.full(4, sigma) for sigma in rng.uniform(0.01, 0.2, 2 * frames)]
    errors = [2 * sigma * np.exp(0.3 * rng.normal(size=4)) for sigma in sigmas]
    latent = [np.ones(4)] * len(sigmas)
    calibration = Calibration.fit(
        errors[:frames], sigmas[:frames], latent[:frames], tolerance_eV_per_A=tolerance_eV_per_A
    )
    arrays: dict[str, Any] = {
        "uncertainty": np.array(
            [mean_of_largest(atomic_uncertainty(*pair)) for pair in zip(sigmas, latent, strict=True)]
        ),
        "max_force_error": np.array([error.max() for error in errors]),
        "role": np.repeat([CALIBRATION, TEST], frames),
        "home": np.ones(2 * frames, dtype=bool),
    }
    return calibration, arrays


@dataclasses.dataclass
class Drawn:
    """What the figure shows.

    Attributes:
        lines: of the upper panel, by name.
        legend: all names.
        words: texts in the upper panel.
    """

    lines: dict[str, NDArray[np.float64]]
    legend: list[str]
    words: list[str]


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Drawn]:
    """Draws the figure and reads it before it becomes an image."""
    panels: list[Axes] = []
    png = probability.png
    monkeypatch.setattr(probability, "png", lambda panel: panels.append(panel) or png(panel))

    def drawn(arrays: dict[str, Any], calibration: Calibration) -> Drawn:
        image = probability_curve(arrays, calibration)
        assert image is not None
        with Image.open(io.BytesIO(image)) as opened:
            assert opened.format == "PNG"
        panel = panels.pop()
        lines = {str(line.get_label()): np.asarray(line.get_data()) for line in panel.lines}
        legend = [text.get_text() for one in panel.figure.legends for text in one.get_texts()]
        return Drawn(lines, legend, [text.get_text() for text in panel.texts])

    return drawn


def test_frames_of_other_conditions_are_told_apart(draw: Callable[..., Drawn]) -> None:
    calibration, arrays = calibrated(40)
    above = arrays["max_force_error"] > TOLERANCE_eV_per_A
    known, new = (f"{np.sum(above & (arrays['role'] == role))} of 40 above" for role in (CALIBRATION, TEST))
    home = draw(arrays, calibration).legend
    assert {f"calibration frames: {known}", f"same conditions: {new}"} < set(home)
    assert not any("other conditions" in name for name in home)
    elsewhere = {**arrays, "home": arrays["role"] == CALIBRATION}
    hot = draw(elsewhere, calibration).legend
    assert {f"calibration frames: {known}", f"other conditions: {new}"} < set(hot)
    assert not any("same conditions" in name for name in hot)


def test_the_estimate_is_at_most_one_minus_confidence_at_the_threshold(draw: Callable[..., Drawn]) -> None:
    calibration, arrays = calibrated(200)
    shown = draw(arrays, calibration)
    x, y = shown.lines["estimate, calibration frames"]
    assert np.all(np.diff(y) >= -1e-12)
    threshold = shown.lines[f"trusted up to {calibration.trust_threshold:.3g} eV/Å"][0][0]
    limit = shown.lines["1 − confidence: 0.1"][1][0]
    assert threshold == calibration.trust_threshold
    assert 0.01 < np.interp(threshold, x, y) <= limit + 1e-3
    assert shown.words == []


def test_that_nothing_is_trusted_stands_in_the_figure(draw: Callable[..., Drawn]) -> None:
    few, arrays = calibrated(12, tolerance_eV_per_A=0.02)
    assert few.trust_threshold == 0
    shown = draw(arrays, few)
    assert shown.words == ["no frame is trusted"]
    assert not any("trusted up to" in name for name in shown.legend)


def test_nothing_is_drawn_without_an_error_model(report_data: ReportData) -> None:
    few, arrays = calibrated(5)
    assert few.error_model is None
    assert probability_curve(arrays, few) is None
    assert probability_curve(arrays, None) is None
    calibration, _ = calibrated(40)
    assert probability_curve({}, calibration) is None
    assert probability_curve({**arrays, "uncertainty": np.full(10, np.nan)}, calibration) is None
    last = report_data.rounds[-1]
    guarantee = {**last.guarantee, "calibration": few.to_dict()}
    page = render_report(dataclasses.replace(report_data, rounds=[dataclasses.replace(last, guarantee=guarantee)]))
    assert "No probability: not enough labels yet: 5 calibration frames, at least 9 are needed." in page


def test_few_frames_equal_uncertainties_and_errors_of_zero_are_drawn() -> None:
    calibration, arrays = calibrated(9)
    assert probability_curve(arrays, calibration) is not None
    alike = {name: values[:1] for name, values in arrays.items()} | {"max_force_error": np.zeros(1)}
    assert probability_curve(alike, calibration) is not None
