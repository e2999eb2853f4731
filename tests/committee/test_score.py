import numpy as np
import pytest
from scipy.stats import spearmanr

from committee.uncertainty.score import PRIOR_POWERS, Score, largest

TOLERANCE = 0.1


def lanes(frames: int, spread_power: float, distance_power: float, seed: int = 0, noise: float = 0.1):
    """Frames of four atoms whose errors follow known powers of spread and distance, far above the floors."""
    rng = np.random.default_rng(seed)
    sigmas = [rng.lognormal(-1.0, 0.8) * np.ones(4) for _ in range(frames)]
    latent = [rng.lognormal(2.5, 0.6) * np.ones(4) for _ in range(frames)]
    errors = [
        s**spread_power * d**distance_power * rng.lognormal(0, noise) for s, d in zip(sigmas, latent, strict=True)
    ]
    return errors, sigmas, latent


@pytest.mark.parametrize("powers", [(1.0, 0.0), (0.0, 1.0), (0.6, 0.8)])
def test_powers_are_found_again(powers):
    score = Score.fit(*lanes(400, *powers), TOLERANCE)
    assert (score.spread_power, score.distance_power) == pytest.approx(powers, abs=0.05)


def test_few_frames_stay_near_the_prior():
    few, many = (Score.fit(*lanes(frames, 1.0, 0.0, noise=2.0), TOLERANCE) for frames in (4, 400))
    assert abs(few.distance_power - PRIOR_POWERS[1]) < 0.5
    assert many.distance_power < 0.2


def test_a_lane_that_foretells_nothing_or_the_contrary_is_left_out():
    errors, sigmas, _ = lanes(200, 1.0, 0.0)
    score = Score.fit(errors, sigmas, [1 / s for s in sigmas], TOLERANCE)
    assert min(score.spread_power, score.distance_power) >= 0
    flat = Score.fit(errors, sigmas, [np.ones(4)] * 200, TOLERANCE)
    assert flat.spread_power == pytest.approx(1.0, abs=0.1)


def test_nearer_than_typical_says_nothing():
    sigma = np.array([0.1, 0.2, 0.3])
    near, typical = (Score(TOLERANCE, 0.7, 0.5)(sigma, np.full(3, distance)) for distance in (0.2, 1.0))
    np.testing.assert_array_equal(near, typical)


def test_it_ranks_at_least_as_well_as_either_lane():
    for powers in ((1.0, 0.1), (0.1, 1.0), (0.5, 0.5)):
        score = Score.fit(*lanes(100, *powers, seed=1, noise=0.5), TOLERANCE)
        errors, sigmas, latent = lanes(500, *powers, seed=2, noise=0.5)
        combined = [score(s, d) for s, d in zip(sigmas, latent, strict=True)]
        found, *single = (spearmanr(largest(errors), largest(lane)).statistic for lane in (combined, sigmas, latent))
        assert found > max(single) - 0.01


def test_spread_and_distance_have_a_floor():
    score = Score(TOLERANCE, 0.5, 0.5)
    zero = score(np.zeros(3), np.zeros(3))
    assert (zero > 0).all()
    assert np.isfinite(zero).all()
