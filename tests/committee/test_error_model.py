"""The estimated probability of an error above the tolerance, given a frame's uncertainty."""

from dataclasses import replace

import numpy as np
import pytest

from committee.uncertainty.error_model import ErrorModel

GRID = np.geomspace(1e-4, 1e2, 200)


def frames(count: int, seed: int, slope: float = 1.0, spread: float = 0.6, noise: float = 0.4):
    """Uncertainties and largest errors that follow a power of them."""
    rng = np.random.default_rng(seed)
    uncertainty = rng.lognormal(-3, spread, count)
    return uncertainty, 0.2 * (uncertainty / np.exp(-3)) ** slope * rng.lognormal(0, noise, count)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("slope", [-0.5, 0.3, 1.0, 2.0])
def test_the_probability_never_falls_with_the_uncertainty(slope, seed):
    model = ErrorModel.fit(*frames(16, seed, slope))
    for tolerance in (0.05, 0.2, 1.0):
        probability = model.probability_above(tolerance, GRID)
        assert (np.diff(probability) >= -1e-15).all()
        shuffled = np.random.default_rng(0).permutation(len(GRID))
        np.testing.assert_array_equal(model.probability_above(tolerance, GRID[shuffled]), probability[shuffled])
        alone = [float(model.probability_above(tolerance, GRID[i : i + 1])[0]) for i in range(0, len(GRID), 20)]
        np.testing.assert_allclose(alone, probability[::20], rtol=1e-12)  # whichever frames stand beside it


@pytest.mark.parametrize(("slope", "below", "above"), [(2.0, 2.0, 2.0), (1.0, 1.0, 1.0), (0.4, 0.4, 1.0), (-1, 0, 1)])
def test_it_is_never_flatter_above_than_proportional_nor_steeper_below_than_the_data(slope, below, above):
    model = ErrorModel.fit(*frames(3000, 0, slope))
    assert (model.slope_below, model.slope_above) == pytest.approx((below, above), abs=0.05)


def test_few_frames_are_less_certain_than_many():
    """The same line and scatter, known from fewer frames, is the weaker evidence wherever errors are improbable."""
    many = ErrorModel.fit(*frames(200, 0))
    few = replace(many, frames=16)
    improbable = GRID[many.probability_above(0.4, GRID) < 0.2]
    assert (few.probability_above(0.4, improbable) > many.probability_above(0.4, improbable)).all()


def test_the_estimate_is_the_rate_on_new_frames():
    """Among frames at the largest uncertainty that is allowed, a tenth exceeds; averaged over calibrations."""
    rng, exceeding = np.random.default_rng(5), []
    for seed in range(300):
        threshold = _threshold(40, seed, tolerance=0.4)
        errors = 0.2 * threshold / np.exp(-3) * rng.lognormal(0, 0.4, 50)
        exceeding.append(np.mean(errors > 0.4))
    assert np.mean(exceeding) == pytest.approx(0.1, abs=0.02)


def test_the_threshold_is_where_the_probability_reaches_its_limit():
    uncertainty, error = frames(60, 2)
    model = ErrorModel.fit(uncertainty, error)
    threshold = model.largest_uncertainty(0.4, 0.9, uncertainty)
    assert threshold > np.exp(model.log_uncertainty)
    assert model.probability_above(0.4, np.array([threshold]))[0] == pytest.approx(0.1, abs=1e-6)


def test_uncertainties_that_are_all_equal_determine_no_slope():
    rng = np.random.default_rng(0)
    model = ErrorModel.fit(np.full(20, 0.1), rng.lognormal(-2, 0.3, 20))
    assert (model.slope_below, model.slope_above) == pytest.approx((0.0, 1.0))
    assert model.largest_uncertainty(1e-3, 0.9, np.full(20, 0.1)) is None


def test_two_frames_are_too_few():
    assert ErrorModel.fit(np.ones(2), np.ones(2)) is None


def _threshold(count: int, seed: int, tolerance: float = 0.4) -> float:
    uncertainty, error = frames(count, seed)
    return ErrorModel.fit(uncertainty, error).largest_uncertainty(tolerance, 0.9, uncertainty) or 0.0
