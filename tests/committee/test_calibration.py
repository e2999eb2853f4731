import json

import numpy as np
import pytest
from scipy.stats import binom

from committee.errors import CheckpointError, TrainingDataError
from committee.uncertainty.calibration import Calibration
from committee.uncertainty.conformal import clopper_pearson_upper, conformal_quantile, frames_needed, frames_to_prove


def sample(frames: int, seed: int, noise: float = 2.0):
    """Frames of 2 to 6 atoms whose errors scale with their spread."""
    rng = np.random.default_rng(seed)
    sigmas = [rng.lognormal(-3.5, 0.7) * rng.uniform(0.3, 1, rng.integers(2, 7)) for _ in range(frames)]
    errors = [noise * s * np.abs(rng.normal(size=len(s))) for s in sigmas]
    return errors, sigmas, [rng.lognormal(0.0, 0.3, len(s)) for s in sigmas]


def fit(frames: int, seed: int = 0, **options) -> Calibration:
    return Calibration.fit(*sample(frames, seed), **{"tolerance_eV_per_A": 0.15, **options})


def test_numbers_of_frames_that_a_promise_takes():
    assert frames_needed(0.9) == 9
    assert frames_needed(0.95) == 19
    assert frames_to_prove(0.9) == 29
    assert clopper_pearson_upper(0, 29) <= 0.1 < clopper_pearson_upper(0, 28)


def test_clopper_pearson_bound_is_where_so_few_events_become_unlikely():
    assert binom.cdf(2, 40, clopper_pearson_upper(2, 40)) == pytest.approx(0.05)
    assert clopper_pearson_upper(0, 0) == 1.0
    assert clopper_pearson_upper(3, 3) == 1.0


def test_too_few_frames_promise_nothing():
    calibration = fit(8)
    assert calibration.quantile is None
    assert calibration.trust_threshold is None
    assert calibration.discard_threshold is None
    assert not calibration.promise_proven
    assert "not enough labels yet" in calibration.summary


def test_conformal_quantile_has_its_finite_sample_correction():
    assert conformal_quantile(np.arange(1.0, 10.0), 0.9) == 9.0
    assert conformal_quantile(np.arange(1.0, 9.0), 0.9) is None
    assert conformal_quantile(np.arange(1.0, 20.0), 0.9) == 18.0


def test_nine_frames_give_a_threshold_flagged_as_unproven():
    calibration = fit(9)
    assert calibration.trust_threshold == pytest.approx(0.15 / calibration.quantile)
    assert calibration.discard_threshold == pytest.approx(1.5 / calibration.quantile)
    assert not calibration.promise_proven
    assert "not proven" in calibration.summary


def test_enough_frames_prove_the_promise():
    calibration = fit(150)
    assert calibration.promise_proven
    assert calibration.trusted_error_bound <= 0.1
    assert calibration.trusted >= 29
    assert calibration.summary.startswith("proven")


def test_the_promise_holds_on_new_frames():
    """Over many calibrations the error rate among trusted frames is above 10 % in at most about 5 % of them."""
    broken = proven = 0
    for seed in range(60):
        calibration = fit(120, seed)
        if calibration.promise_proven:
            proven += 1
            counted = calibration.coverage(*sample(2000, 1000 + seed))
            broken += counted.trusted_exceeding > 0.1 * counted.trusted
    assert proven > 30
    assert broken <= 0.1 * proven


def test_marginal_coverage_on_new_frames():
    marginal = [fit(40, seed).coverage(*sample(200, 500 + seed)).marginal for seed in range(40)]
    assert 0.88 < np.mean(marginal) < 0.94


def test_errors_beyond_tolerance_everywhere_leave_nothing_proven():
    errors, sigmas, latent = sample(100, 0)
    calibration = Calibration.fit([e + 1 for e in errors], sigmas, latent, tolerance_eV_per_A=0.15)
    assert not calibration.promise_proven
    assert calibration.trusted == 0


def test_coverage_counts_and_respects_the_latent_check():
    calibration = fit(60)
    errors, sigmas, latent = sample(50, 7)
    counted = calibration.coverage(errors, sigmas, latent)
    assert counted.frames == 50
    assert counted.covered == round(counted.marginal * 50)
    assert counted.trusted > 0
    far = calibration.coverage(errors, sigmas, [values + 1e6 for values in latent])
    assert far.trusted == 0
    assert far.trusted_error_bound == 1.0


def test_latent_threshold_is_the_quantile_of_the_frames_largest():
    errors, sigmas, _ = sample(20, 0)
    latent = [np.full(len(s), float(i)) for i, s in enumerate(sigmas)]
    calibration = Calibration.fit(errors, sigmas, latent, tolerance_eV_per_A=0.15, latent_quantile=0.9)
    assert calibration.latent_threshold == 18.0


def test_too_few_frames_rest_on_the_spread_alone():
    calibration = fit(8)
    assert (calibration.spread_power, calibration.distance_power) == (1.0, 0.0)
    np.testing.assert_array_equal(calibration.uncertainty(np.array([0.1]), np.array([7.0])), [0.1])


def test_json_round_trip():
    calibration = fit(30)
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration
    with pytest.raises(CheckpointError, match="keys"):
        Calibration.from_dict({"frames": 3})


def test_bad_input_is_refused():
    errors, sigmas, latent = sample(12, 0)
    with pytest.raises(TrainingDataError, match="12, 11 and 12"):
        Calibration.fit(errors, sigmas[:-1], latent, tolerance_eV_per_A=0.1)
    errors[3] = errors[3] * np.nan
    with pytest.raises(TrainingDataError, match="frame 3"):
        Calibration.fit(errors, sigmas, latent, tolerance_eV_per_A=0.1)
