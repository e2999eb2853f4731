import json

import numpy as np
import pytest
from scipy.stats import binom

from committee.errors import CheckpointError, TrainingDataError
from committee.uncertainty.calibration import Calibration
from committee.uncertainty.conformal import (
    clopper_pearson_upper,
    confirmed_threshold,
    conformal_quantile,
    frames_needed,
    frames_to_prove,
)


def sample(frames: int, seed: int, noise: float = 2.0, spread: float = 0.7):
    """Frames of 2 to 6 atoms whose errors scale with their spread."""
    rng = np.random.default_rng(seed)
    sigmas = [rng.lognormal(-3.5, spread) * rng.uniform(0.3, 1, rng.integers(2, 7)) for _ in range(frames)]
    errors = [noise * s * np.abs(rng.normal(size=len(s))) for s in sigmas]
    return errors, sigmas, [rng.lognormal(0.0, 0.3, len(s)) for s in sigmas]


def fit(frames: int, seed: int = 0, **options) -> Calibration:
    return Calibration.fit(*sample(frames, seed), **{"tolerance_eV_per_A": 0.15, **options})


def test_numbers_of_frames_that_a_guarantee_takes():
    assert frames_needed(0.9) == 9
    assert frames_needed(0.95) == 19
    assert frames_to_prove(0.9) == 29
    assert clopper_pearson_upper(0, 29) <= 0.1 < clopper_pearson_upper(0, 28)


def test_clopper_pearson_bound_is_where_so_few_events_become_unlikely():
    assert binom.cdf(2, 40, clopper_pearson_upper(2, 40)) == pytest.approx(0.05)
    assert clopper_pearson_upper(0, 0) == 1.0
    assert clopper_pearson_upper(3, 3) == 1.0


def test_a_threshold_is_lowered_until_the_frames_below_it_confirm_it():
    uncertainty = np.arange(1.0, 21.0)
    exceeds = uncertainty >= 18
    assert confirmed_threshold(uncertainty, exceeds, 17.5, 0.9) == 17.5
    assert confirmed_threshold(uncertainty, exceeds, 19.5, 0.9) == 17.0  # 2 of 19, then 1 of 18
    assert confirmed_threshold(uncertainty, exceeds, 8.5, 0.9) is None  # eight frames
    assert confirmed_threshold(uncertainty, np.ones(20, dtype=bool), 17.5, 0.9) is None
    assert confirmed_threshold(np.ones(20), exceeds, 1.0, 0.9) is None  # equal ones are below together


def test_too_few_frames_guarantee_nothing():
    calibration = fit(8)
    assert calibration.quantile is None
    assert calibration.trust_threshold is None
    assert calibration.discard_threshold is None
    assert not calibration.guarantee_proven
    assert "not enough labels yet" in calibration.summary


def test_conformal_quantile_has_its_finite_sample_correction():
    assert conformal_quantile(np.arange(1.0, 10.0), 0.9) == 9.0
    assert conformal_quantile(np.arange(1.0, 9.0), 0.9) is None
    assert conformal_quantile(np.arange(1.0, 20.0), 0.9) == 18.0


def test_nine_frames_can_give_a_threshold_flagged_as_unproven():
    errors, sigmas, latent = sample(9, 0)
    calibration = Calibration.fit(errors, sigmas, latent, tolerance_eV_per_A=1.0)
    assert calibration.trusted == 9
    assert calibration.discard_threshold == pytest.approx(max(10 / calibration.quantile, calibration.trust_threshold))
    assert not calibration.guarantee_proven
    assert calibration.summary.startswith("not proven")


def test_sixteen_frames_trust_nothing_that_they_do_not_show():
    """At a tolerance that half of the frames exceed, nine of sixteen cannot be below it, so that none is trusted."""
    for seed in range(20):
        errors, sigmas, latent = sample(16, seed)
        middle = float(np.median([e.max() for e in errors]))
        calibration = Calibration.fit(errors, sigmas, latent, tolerance_eV_per_A=middle)
        assert (calibration.trust_threshold, calibration.trusted) == (0.0, 0)
        assert "no frame can be trusted" in calibration.summary


@pytest.mark.parametrize("frames", [16, 40, 100])
def test_where_hardly_any_calibration_frame_exceeds_a_shift_is_still_told_apart(frames):
    """Nearly all errors at home are within the tolerance; where spreads and errors are five times as large, few are."""
    trusted = exceeding = at_home = 0
    for seed in range(30):
        calibration = fit(frames, seed, tolerance_eV_per_A=0.5)
        assert calibration.trusted_exceeding <= 0.1 * frames
        at_home += calibration.coverage(*sample(100, 2000 + seed)).trusted
        errors, sigmas, latent = sample(100, 1000 + seed)
        counted = calibration.coverage([5 * e for e in errors], [5 * s for s in sigmas], latent)
        trusted += counted.trusted
        exceeding += counted.trusted_exceeding
    assert at_home > 0.7 * 30 * 100
    assert trusted > 200
    assert exceeding <= 0.1 * trusted + 2 * np.sqrt(0.1 * trusted)


def test_the_probability_given_the_uncertainty_decides():
    calibration = fit(60)
    at = np.array([0.5, 1.0, 2.0]) * calibration.trust_threshold
    below, limit, above = calibration.probability_above_tolerance(at)
    assert below < limit <= 0.1 + 1e-6 < above
    assert fit(8).probability_above_tolerance(at) is None


def test_enough_frames_prove_the_guarantee():
    calibration = fit(150)
    assert calibration.guarantee_proven
    assert calibration.trusted_error_bound <= 0.1
    assert calibration.trusted >= 29
    assert calibration.summary.startswith("proven at 90% for frames like the calibration frames")
    assert "under other conditions it is an estimate" in calibration.summary


def test_the_guarantee_holds_on_new_frames():
    """Over many calibrations the error rate among trusted frames is above 10 % in at most about 5 % of them."""
    broken = proven = 0
    for seed in range(60):
        calibration = fit(120, seed)
        if calibration.guarantee_proven:
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
    assert not calibration.guarantee_proven
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


def test_json_round_trip():
    calibration = fit(30)
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration
    with pytest.raises(CheckpointError, match="keys"):
        Calibration.from_dict({"frames": 3})
    with pytest.raises(CheckpointError, match="log_residual"):
        Calibration.from_dict({**calibration.to_dict(), "error_model": {"frames": 30}})


def test_bad_input_is_refused():
    errors, sigmas, latent = sample(12, 0)
    with pytest.raises(TrainingDataError, match="12, 11 and 12"):
        Calibration.fit(errors, sigmas[:-1], latent, tolerance_eV_per_A=0.1)
    errors[3] = errors[3] * np.nan
    with pytest.raises(TrainingDataError, match="frame 3"):
        Calibration.fit(errors, sigmas, latent, tolerance_eV_per_A=0.1)
